"""Raw exports become one linked unit x period panel."""

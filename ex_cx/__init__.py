"""Link employee experience to customer outcomes: panel regressions, mediation, honest errors."""

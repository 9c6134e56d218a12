"""Link employee experience to customer outcomes: panel regressions, mediation, honest errors.

Public names are looked up in their rooms when first used, so that a program which only wants
the command line does not wait for the numerics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ex_cx.linkage.agreement import (
        aggregation_report,
        icc,
        respondents_needed,
        unit_means,
        within_group_agreement,
    )
    from ex_cx.linkage.alignspec import CombineSpec, CrosswalkSpec
    from ex_cx.linkage.check import check_table
    from ex_cx.linkage.crosswalk import Crosswalk, read_crosswalk
    from ex_cx.linkage.exportmaps.apply import apply_mapping
    from ex_cx.linkage.exportmaps.file import ExportMapping, read_mapping
    from ex_cx.linkage.invariance import WaveInvariance, wave_invariance
    from ex_cx.linkage.link import link_sources
    from ex_cx.linkage.measure import measure_source
    from ex_cx.linkage.panel import Panel
    from ex_cx.linkage.scales import cronbach_alpha, item_total, omega_total, split_half
    from ex_cx.linkage.schema import MeasureSpec, SourceSpec
    from ex_cx.linkage.selective import compare_lost
    from ex_cx.linkage.sources import read_table
    from ex_cx.linkage.stores import open_table
    from ex_cx.linkage.suggest import draft_crosswalk, suggest_from_audit, suggest_matches
    from ex_cx.linkage.weighting import RakedWeights, rake_weights, weighted_mean
    from ex_cx.linkage.weightspec import WeightingSpec
    from ex_cx.models.compare import compare_estimators, within_bins
    from ex_cx.models.curve import CurveResult, fit_curve
    from ex_cx.models.dynamic import DynamicResult, fit_dynamic
    from ex_cx.models.dynamic_spec import DynamicSpec, DynamicTerm
    from ex_cx.models.halves import fit_split_half
    from ex_cx.models.lags import LagResult, fit_lags
    from ex_cx.models.levels import compare_levels
    from ex_cx.models.magnitude import effect_sizes, predict_change
    from ex_cx.models.mediation import fit_mediation
    from ex_cx.models.mediation_rates import RateMediationResult, fit_rate_mediation
    from ex_cx.models.mediation_rates_spec import RateMediationSpec
    from ex_cx.models.mediation_result import MediationResult
    from ex_cx.models.mediation_spec import MediationSpec
    from ex_cx.models.precision import PrecisionWeights, compare_precision, precision_weights
    from ex_cx.models.promoters import PromoterResult, split_nps
    from ex_cx.models.published import PublishedMediation, fit_mediation_from_covariance
    from ex_cx.models.rate import RateResult, fit_rate
    from ex_cx.models.rate_spec import RateSpec
    from ex_cx.models.regress import PanelResult, fit_panel
    from ex_cx.models.shape import slope_regions, slopes_over, turning_point
    from ex_cx.models.spec import PanelSpec
    from ex_cx.models.table import fit_table
    from ex_cx.models.wild import wild_cluster_test
    from ex_cx.robustness.confounding import MediationSensitivity, mediation_sensitivity
    from ex_cx.robustness.confounding_guards import check_mediation_confounding
    from ex_cx.robustness.diagnostics import diagnose
    from ex_cx.robustness.error_kinds import compare_errors
    from ex_cx.robustness.evalues import e_value, mediational_e_values
    from ex_cx.robustness.guards import check_guards, check_mediation_guards
    from ex_cx.robustness.omitted import (
        OmittedVariables,
        mediation_omitted_bounds,
        omitted_variable_bounds,
    )
    from ex_cx.robustness.orders import compare_orders, placebo_paths
    from ex_cx.robustness.pooling import PooledResult, pool_estimates

__all__ = [
    "CombineSpec",
    "Crosswalk",
    "CrosswalkSpec",
    "CurveResult",
    "DynamicResult",
    "DynamicSpec",
    "DynamicTerm",
    "ExportMapping",
    "LagResult",
    "MeasureSpec",
    "MediationResult",
    "MediationSensitivity",
    "MediationSpec",
    "OmittedVariables",
    "Panel",
    "PanelResult",
    "PanelSpec",
    "PooledResult",
    "PrecisionWeights",
    "PromoterResult",
    "PublishedMediation",
    "RakedWeights",
    "RateMediationResult",
    "RateMediationSpec",
    "RateResult",
    "RateSpec",
    "SourceSpec",
    "WaveInvariance",
    "WeightingSpec",
    "aggregation_report",
    "apply_mapping",
    "check_guards",
    "check_mediation_confounding",
    "check_mediation_guards",
    "check_table",
    "compare_errors",
    "compare_estimators",
    "compare_levels",
    "compare_lost",
    "compare_orders",
    "compare_precision",
    "cronbach_alpha",
    "diagnose",
    "draft_crosswalk",
    "e_value",
    "effect_sizes",
    "fit_curve",
    "fit_dynamic",
    "fit_lags",
    "fit_mediation",
    "fit_mediation_from_covariance",
    "fit_panel",
    "fit_rate",
    "fit_rate_mediation",
    "fit_split_half",
    "fit_table",
    "icc",
    "item_total",
    "link_sources",
    "measure_source",
    "mediation_omitted_bounds",
    "mediation_sensitivity",
    "mediational_e_values",
    "omega_total",
    "omitted_variable_bounds",
    "open_table",
    "placebo_paths",
    "pool_estimates",
    "precision_weights",
    "predict_change",
    "rake_weights",
    "read_crosswalk",
    "read_mapping",
    "read_table",
    "respondents_needed",
    "slope_regions",
    "slopes_over",
    "split_half",
    "split_nps",
    "suggest_from_audit",
    "suggest_matches",
    "turning_point",
    "unit_means",
    "wave_invariance",
    "weighted_mean",
    "wild_cluster_test",
    "within_bins",
    "within_group_agreement",
]

_ROOM = {
    "CurveResult": "ex_cx.models.curve",
    "DynamicResult": "ex_cx.models.dynamic",
    "DynamicSpec": "ex_cx.models.dynamic_spec",
    "DynamicTerm": "ex_cx.models.dynamic_spec",
    "LagResult": "ex_cx.models.lags",
    "MeasureSpec": "ex_cx.linkage.schema",
    "MediationResult": "ex_cx.models.mediation_result",
    "MediationSensitivity": "ex_cx.robustness.confounding",
    "MediationSpec": "ex_cx.models.mediation_spec",
    "OmittedVariables": "ex_cx.robustness.omitted",
    "Panel": "ex_cx.linkage.panel",
    "PanelResult": "ex_cx.models.regress",
    "PanelSpec": "ex_cx.models.spec",
    "PooledResult": "ex_cx.robustness.pooling",
    "PrecisionWeights": "ex_cx.models.precision",
    "PromoterResult": "ex_cx.models.promoters",
    "PublishedMediation": "ex_cx.models.published",
    "RateMediationResult": "ex_cx.models.mediation_rates",
    "RateMediationSpec": "ex_cx.models.mediation_rates_spec",
    "RateResult": "ex_cx.models.rate",
    "RateSpec": "ex_cx.models.rate_spec",
    "SourceSpec": "ex_cx.linkage.schema",
    "aggregation_report": "ex_cx.linkage.agreement",
    "check_guards": "ex_cx.robustness.guards",
    "check_mediation_confounding": "ex_cx.robustness.confounding_guards",
    "check_mediation_guards": "ex_cx.robustness.guards",
    "check_table": "ex_cx.linkage.check",
    "compare_errors": "ex_cx.robustness.error_kinds",
    "compare_estimators": "ex_cx.models.compare",
    "compare_levels": "ex_cx.models.levels",
    "compare_orders": "ex_cx.robustness.orders",
    "compare_precision": "ex_cx.models.precision",
    "cronbach_alpha": "ex_cx.linkage.scales",
    "diagnose": "ex_cx.robustness.diagnostics",
    "e_value": "ex_cx.robustness.evalues",
    "effect_sizes": "ex_cx.models.magnitude",
    "fit_curve": "ex_cx.models.curve",
    "fit_dynamic": "ex_cx.models.dynamic",
    "fit_lags": "ex_cx.models.lags",
    "fit_mediation": "ex_cx.models.mediation",
    "fit_mediation_from_covariance": "ex_cx.models.published",
    "fit_panel": "ex_cx.models.regress",
    "fit_rate": "ex_cx.models.rate",
    "fit_rate_mediation": "ex_cx.models.mediation_rates",
    "fit_split_half": "ex_cx.models.halves",
    "fit_table": "ex_cx.models.table",
    "icc": "ex_cx.linkage.agreement",
    "item_total": "ex_cx.linkage.scales",
    "link_sources": "ex_cx.linkage.link",
    "measure_source": "ex_cx.linkage.measure",
    "mediation_omitted_bounds": "ex_cx.robustness.omitted",
    "mediation_sensitivity": "ex_cx.robustness.confounding",
    "mediational_e_values": "ex_cx.robustness.evalues",
    "omega_total": "ex_cx.linkage.scales",
    "omitted_variable_bounds": "ex_cx.robustness.omitted",
    "placebo_paths": "ex_cx.robustness.orders",
    "pool_estimates": "ex_cx.robustness.pooling",
    "precision_weights": "ex_cx.models.precision",
    "predict_change": "ex_cx.models.magnitude",
    "open_table": "ex_cx.linkage.stores",
    "read_table": "ex_cx.linkage.sources",
    "respondents_needed": "ex_cx.linkage.agreement",
    "slope_regions": "ex_cx.models.shape",
    "slopes_over": "ex_cx.models.shape",
    "split_half": "ex_cx.linkage.scales",
    "split_nps": "ex_cx.models.promoters",
    "turning_point": "ex_cx.models.shape",
    "unit_means": "ex_cx.linkage.agreement",
    "wild_cluster_test": "ex_cx.models.wild",
    "within_bins": "ex_cx.models.compare",
    "within_group_agreement": "ex_cx.linkage.agreement",
    "ExportMapping": "ex_cx.linkage.exportmaps.file",
    "apply_mapping": "ex_cx.linkage.exportmaps.apply",
    "read_mapping": "ex_cx.linkage.exportmaps.file",
    "CombineSpec": "ex_cx.linkage.alignspec",
    "CrosswalkSpec": "ex_cx.linkage.alignspec",
    "Crosswalk": "ex_cx.linkage.crosswalk",
    "read_crosswalk": "ex_cx.linkage.crosswalk",
    "compare_lost": "ex_cx.linkage.selective",
    "draft_crosswalk": "ex_cx.linkage.suggest",
    "suggest_from_audit": "ex_cx.linkage.suggest",
    "suggest_matches": "ex_cx.linkage.suggest",
    "RakedWeights": "ex_cx.linkage.weighting",
    "rake_weights": "ex_cx.linkage.weighting",
    "weighted_mean": "ex_cx.linkage.weighting",
    "WeightingSpec": "ex_cx.linkage.weightspec",
    "WaveInvariance": "ex_cx.linkage.invariance",
    "wave_invariance": "ex_cx.linkage.invariance",
}


def __getattr__(name: str) -> object:
    """The public object of that name, from the module that holds it."""
    if name not in _ROOM:
        raise AttributeError(f"module 'ex_cx' has no attribute {name!r}")
    value = getattr(import_module(_ROOM[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

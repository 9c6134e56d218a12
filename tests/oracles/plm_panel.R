# Panel regressions of R's plm and clubSandwich on the data that plm ships.
# Run:  Rscript tests/oracles/plm_panel.R > tests/oracles/plm_panel.json
# Every option is pinned; small-sample factors are named where they differ from ours.
suppressMessages({library(plm); library(clubSandwich); library(jsonlite)})
data("Grunfeld", package = "plm"); data("Produc", package = "plm")
Produc$lgsp <- log(Produc$gsp); Produc$lpcap <- log(Produc$pcap)
Produc$lpc <- log(Produc$pc); Produc$lemp <- log(Produc$emp)
# an unbalanced Produc: every seventh row left out
Holed <- Produc[seq_len(nrow(Produc)) %% 7 != 0, ]
cases <- list(
  grunfeld = list(inv ~ value + capital, Grunfeld, c("firm", "year")),
  produc = list(lgsp ~ lpcap + lpc + lemp + unemp, Produc, c("state", "year")),
  holed = list(lgsp ~ lpcap + lpc + lemp + unemp, Holed, c("state", "year")))
numbers <- function(fit, vcov) {
  terms <- setdiff(names(coef(fit)), "(Intercept)")
  list(coef = as.list(coef(fit)[terms]), se = as.list(sqrt(diag(as.matrix(vcov)))[terms]))
}
out <- list()
for (name in names(cases)) {
  f <- cases[[name]][[1]]; d <- cases[[name]][[2]]; i <- cases[[name]][[3]]
  within2 <- plm(f, d, index = i, model = "within", effect = "twoways")
  within1 <- plm(f, d, index = i, model = "within", effect = "individual")
  out[[name]] <- list(
    pooled = numbers(p <- plm(f, d, index = i, model = "pooling"), vcov(p)),
    between = numbers(p <- plm(f, d, index = i, model = "between"), vcov(p)),
    within = numbers(within2, vcov(within2)),
    within_unit = numbers(within1, vcov(within1)),
    # no small-sample factor: HC0, clustered by unit
    within_arellano = numbers(within2, vcovHC(within2, method = "arellano", type = "HC0", cluster = "group")),
    within_double = numbers(within2, vcovDC(within2, type = "HC0")),
    # Bartlett with maxlag, no small-sample factor
    within_scc = numbers(within2, vcovSCC(within2, type = "HC0", maxlag = 2)),
    # leave one unit out; clubSandwich has no factor (G-1)/G
    within_unit_cr3 = numbers(within1, vcovCR(within1, cluster = "individual", type = "CR3")),
    random = numbers(p <- plm(f, d, index = i, model = "random", random.method = "swar"), vcov(p)))
}
versions <- list(R = R.version.string, plm = as.character(packageVersion("plm")),
                 clubSandwich = as.character(packageVersion("clubSandwich")))
cat(toJSON(list(versions = versions, results = out), auto_unbox = TRUE, digits = 15, pretty = TRUE), "\n")

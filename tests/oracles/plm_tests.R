# Specification tests of R's plm on the data that plm ships.
# Run:  Rscript tests/oracles/plm_tests.R > tests/oracles/plm_tests.json
suppressMessages({library(plm); library(jsonlite)})
data("Grunfeld", package = "plm"); data("Produc", package = "plm")
Produc$lgsp <- log(Produc$gsp); Produc$lpcap <- log(Produc$pcap)
Produc$lpc <- log(Produc$pc); Produc$lemp <- log(Produc$emp)
cases <- list(
  grunfeld = list(inv ~ value + capital, Grunfeld, c("firm", "year")),
  produc = list(lgsp ~ lpcap + lpc + lemp + unemp, Produc, c("state", "year")))
numbers <- function(test) list(statistic = unname(test$statistic), p = unname(test$p.value))
out <- list()
for (name in names(cases)) {
  f <- cases[[name]][[1]]; d <- cases[[name]][[2]]; i <- cases[[name]][[3]]
  within <- plm(f, d, index = i, model = "within", effect = "individual")
  random <- plm(f, d, index = i, model = "random", random.method = "swar")
  first <- plm(update(f, . ~ . - 1), d, index = i, model = "fd")
  out[[name]] <- list(
    hausman = numbers(phtest(within, random)),
    # first-difference regression without a constant, pooled second regression with one,
    # errors HC0 clustered by unit, null -0.5
    wooldridge = numbers(pwfdtest(first, h0 = "fe")),
    # residuals of the within model, all pairs of units
    cd = numbers(pcdtest(within, test = "cd")))
}
cat(toJSON(list(plm = as.character(packageVersion("plm")), results = out),
           auto_unbox = TRUE, digits = 15, pretty = TRUE), "\n")

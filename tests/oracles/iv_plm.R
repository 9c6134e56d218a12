# Instrumented within and pooled estimates of R's plm on the data that it ships.
# Run:  Rscript tests/oracles/iv_plm.R > tests/oracles/iv_plm.json
# inst.method "bvk" does not matter for within and pooling; errors are unadjusted, rss / df with
# every absorbed level counted. Two instruments for one term; W = unemp is its own instrument.
suppressMessages({library(plm); library(jsonlite)})
data("Produc", package = "plm")
Produc$lgsp <- log(Produc$gsp); Produc$lpcap <- log(Produc$pcap)
Produc$lpc <- log(Produc$pc); Produc$lemp <- log(Produc$emp)
Holed <- Produc[seq_len(nrow(Produc)) %% 7 != 0, ]
model <- lgsp ~ lemp + unemp | unemp + lpcap + lpc
fit <- function(d, model_, effect) {
  f <- plm(model, d, index = c("state", "year"), model = model_, effect = effect)
  terms <- c("lemp", "unemp")
  list(coef = as.list(coef(f)[terms]), se = as.list(sqrt(diag(vcov(f)))[terms]))
}
out <- list()
for (name in c("produc", "holed")) {
  d <- if (name == "produc") Produc else Holed
  out[[name]] <- list(both = fit(d, "within", "twoways"), unit = fit(d, "within", "individual"),
                      period = fit(d, "within", "time"), pooled = fit(d, "pooling", "individual"))
}
versions <- list(R = R.version.string, plm = as.character(packageVersion("plm")))
cat(toJSON(list(versions = versions, results = out), auto_unbox = TRUE, digits = 15, pretty = TRUE), "\n")

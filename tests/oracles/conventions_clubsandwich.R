# Clustered errors of R's clubSandwich on least squares with every dummy written out (LSDV).
# Run:  Rscript tests/oracles/conventions_clubsandwich.R > tests/oracles/conventions_clubsandwich.json
# CR1 is G/(G-1) CR0; CR2 has the identity as working model and Satterthwaite degrees of freedom;
# CR3 has no factor (G-1)/G. Its lm method inverts I - H_gg, which the dummies of a unit make
# singular, so CR3 is taken of plm's within transformation, or of a fit without unit dummies.
suppressMessages({library(plm); library(clubSandwich); library(jsonlite)})
data("Grunfeld", package = "plm"); data("Produc", package = "plm")
Produc$lgsp <- log(Produc$gsp); Produc$lpcap <- log(Produc$pcap)
Produc$lpc <- log(Produc$pc); Produc$lemp <- log(Produc$emp)
Produc$region <- ((seq_len(nrow(Produc)) - 1) %/% 17) %/% 5  # 48 states of 17 years, by fives
Holed <- Produc[seq_len(nrow(Produc)) %% 7 != 0, ]
grunfeld <- inv ~ value + capital; produc <- lgsp ~ lpcap + lpc + lemp + unemp
cases <- list(
  grunfeld = list(grunfeld, Grunfeld, "firm", "year", "firm"),
  produc = list(produc, Produc, "state", "year", "state"),
  holed = list(produc, Holed, "state", "year", "state"),
  holed_region = list(produc, Holed, "state", "year", "region"))
numbers <- function(fit, terms, cluster, type, test) {
  found <- coef_test(fit, vcov = type, cluster = cluster, test = test, coefs = terms)
  df <- if (test == "Satterthwaite") found$df_Satt else found$df_t
  list(coef = as.list(setNames(found$beta, terms)), se = as.list(setNames(found$SE, terms)),
       df = as.list(setNames(rep_len(df, length(terms)), terms)))
}
out <- list()
for (name in names(cases)) {
  case <- cases[[name]]; d <- case[[2]]; terms <- attr(terms(case[[1]]), "term.labels")
  cluster <- factor(d[[case[[5]]]])
  d$unit_ <- factor(d[[case[[3]]]]); d$period_ <- factor(d[[case[[4]]]])
  fits <- list(pooled = lm(case[[1]], d), unit = lm(update(case[[1]], . ~ . + unit_), d),
               period = lm(update(case[[1]], . ~ . + period_), d),
               both = lm(update(case[[1]], . ~ . + unit_ + period_), d))
  out[[name]] <- lapply(names(fits), function(effects) {
    f <- fits[[effects]]
    found <- list(CR1 = numbers(f, terms, cluster, "CR1", "naive-t"),
                  CR2 = numbers(f, terms, cluster, "CR2", "Satterthwaite"))
    if (effects %in% c("pooled", "period"))
      found$CR3 <- numbers(f, terms, cluster, "CR3", "naive-t")
    found
  })
  names(out[[name]]) <- names(fits)
}
within <- plm(produc, Holed, index = c("state", "year"), model = "within", effect = "individual")
out$holed$unit$CR3 <- numbers(within, attr(terms(produc), "term.labels"), "individual", "CR3", "naive-t")
versions <- list(R = R.version.string, plm = as.character(packageVersion("plm")),
                 clubSandwich = as.character(packageVersion("clubSandwich")))
cat(toJSON(list(versions = versions, results = out), auto_unbox = TRUE, digits = 15, pretty = TRUE), "\n")

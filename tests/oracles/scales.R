# Agreement, intraclass correlations, alpha and omega of data sets that R packages ship.
# Run: Rscript tests/oracles/scales.R > tests/oracles/scales.json
# Written out are the eleven leadership items of six companies of lq2002 (multilevel), attitude
# (datasets), and of bh1996 (multilevel) the size, mean and variance of well-being in each group.
suppressMessages({library(multilevel); library(psych); library(jsonlite)})
data(lq2002, bh1996, package = "multilevel")
items <- grep("^LEAD[0-9]", names(lq2002), value = TRUE)
some <- lq2002[lq2002$COMPID %in% sort(unique(lq2002$COMPID))[1:6], c("COMPID", items)]
fit <- aov(LEAD ~ as.factor(COMPID), data = data.frame(some, LEAD = rowMeans(some[items])))
uniform <- rwg.j(some[items], some$COMPID, ranvar = 2)
skewed <- rwg.j(some[items], some$COMPID, ranvar = 1.34)
single <- rwg(some$LEAD01, some$COMPID, ranvar = 2)
whole <- aov(WBEING ~ as.factor(GRP), data = bh1996)
omega_ml <- omega(attitude, nfactors = 1, fm = "ml", plot = FALSE)
factor_ml <- factanal(attitude, factors = 1, control = list(nstart = 5, opt = list(factr = 1e2)))
loading <- factor_ml$loadings[, 1]
cat(toJSON(list(
  versions = list(R = R.version.string, multilevel = as.character(packageVersion("multilevel")),
                  psych = as.character(packageVersion("psych"))),
  lq2002 = some, items = items,
  icc1_mean = ICC1(fit), icc2_mean = ICC2(fit), f = summary(fit)[[1]][1, "F value"],
  p = summary(fit)[[1]][1, "Pr(>F)"],
  rwg_uniform = uniform, rwg_skewed = skewed, rwg_single = single,
  groups = with(bh1996, data.frame(n = as.vector(table(GRP)), mean = as.vector(tapply(WBEING, GRP,
    mean)), variance = as.vector(tapply(WBEING, GRP, var)))),
  bh1996 = list(icc1_mean = ICC1(whole), icc2_mean = ICC2(whole), n = nrow(bh1996),
                units = length(unique(bh1996$GRP))),
  attitude = attitude,
  alpha = alpha(attitude)$total$raw_alpha,
  alpha_standardised = alpha(attitude)$total$std.alpha,
  alpha_without = alpha(attitude)$alpha.drop$raw_alpha,
  item_total = alpha(attitude)$item.stats$r.drop,
  omega_psych = omega_ml$omega.tot, total = sum(cor(attitude)),
  loadings = as.vector(loading), uniquenesses = as.vector(factor_ml$uniquenesses),
  omega_factanal = sum(loading)^2 / (sum(loading)^2 + sum(factor_ml$uniquenesses))
), digits = NA, auto_unbox = TRUE, pretty = FALSE))
cat("\n")

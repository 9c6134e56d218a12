# Restricted cubic spline basis of Hmisc and simultaneous quantiles of mvtnorm (through multcomp).
# Run:  Rscript tests/oracles/spline_hmisc.R > tests/oracles/spline_hmisc.json
# rcspline.eval: inclx = TRUE, norm = 2 (divided by the squared distance of the outer knots).
suppressMessages({library(Hmisc); library(mvtnorm); library(jsonlite)})
x <- seq(-3, 14, by = 0.25)
places <- list(three = c(1, 5, 9), four = c(0.5, 3, 6.5, 9.5), seven = c(0, 1.2, 2.5, 5, 7, 8.1, 10))
basis <- lapply(places, function(k) unname(rcspline.eval(x, knots = k, inclx = TRUE, norm = 2)))
# knots chosen by quantiles: 250 distinct values, so that no rule for ties or few rows applies
z <- ((seq_len(250) * 37) %% 251)^1.5
chosen <- lapply(3:7, function(k) unname(rcspline.eval(z, nk = k, knots.only = TRUE, fractied = 0)))
# the exact simultaneous quantile of |T| over points of a curve, df = 15
set.seed(1)
at <- seq(0, 10, length.out = 41); b <- rcspline.eval(at, knots = places$four, inclx = TRUE)
con <- sweep(b, 2, rcspline.eval(c(5, 5.1), knots = places$four, inclx = TRUE)[1, ])
vcov <- 0.4^abs(outer(1:3, 1:3, "-")) * outer(c(1, 2, 1.5), c(1, 2, 1.5))
con <- con[rowSums(abs(con)) > 1e-9, ]
cov <- con %*% vcov %*% t(con); corr <- cov2cor(cov)
exact <- qmvt(0.95, tail = "both.tails", df = 15, corr = corr,
              algorithm = GenzBretz(maxpts = 5e5, abseps = 1e-4))$quantile
versions <- list(R = R.version.string, Hmisc = as.character(packageVersion("Hmisc")),
                 mvtnorm = as.character(packageVersion("mvtnorm")))
cat(toJSON(list(versions = versions, x = x, places = places, basis = basis, z = z, chosen = chosen,
                contrast = con, vcov = vcov, quantile = exact),
           auto_unbox = TRUE, digits = NA, matrix = "rowmajor"), "\n")

# Estimates pooled by metafor: restricted likelihood, Paule-Mandel, one common effect; Hartung-Knapp
# intervals (test = "knha"), I2 of Higgins and Thompson, Q; the prediction interval of Higgins,
# Thompson and Spiegelhalter (2009): conventional error, t with k - 2 degrees of freedom.
# Run: Rscript tests/oracles/pooling.R > tests/oracles/pooling.json. R 4.2.2, metafor 3.8-1.
suppressMessages({library(metafor); library(jsonlite)})
bcg <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
alike <- data.frame(yi = c(0.31, 0.29, 0.30, 0.33), vi = c(0.01, 0.02, 0.015, 0.03))
apart <- data.frame(yi = c(-2, 0.5, 4), vi = c(0.02, 0.3, 0.001))
two <- data.frame(yi = c(-1.2, 0.4), vi = c(0.09, 0.16))
sets <- list(bcg = bcg, alike = alike, apart = apart, two = two)
one <- function(data, method) {
  tight <- list(threshold = 1e-13, tol = 1e-13, maxiter = 100000)
  fit <- rma(yi, vi, data = data, method = method, control = tight,
             test = if (method == "EE") "z" else "knha")
  plain <- rma(yi, vi, data = data, method = method, control = tight)
  k <- nrow(data)
  half <- if (k > 2 && method != "EE") qt(0.975, k - 2) * sqrt(plain$tau2 + plain$se^2) else NA
  list(estimate = as.numeric(fit$b), se = fit$se, low = fit$ci.lb, high = fit$ci.ub, p = fit$pval,
       tau = if (method == "EE") 0 else sqrt(fit$tau2), i2 = fit$I2, q = fit$QE, q_p = fit$QEp,
       pred_low = as.numeric(fit$b) - half, pred_high = as.numeric(fit$b) + half)
}
out <- lapply(sets, function(d) list(
  yi = as.numeric(d$yi), sei = sqrt(as.numeric(d$vi)),
  reml = one(d, "REML"), paule_mandel = one(d, "PM"), common = one(d, "EE")))
cat(toJSON(out, digits = I(17), auto_unbox = TRUE, pretty = TRUE, na = "null"), "\n")

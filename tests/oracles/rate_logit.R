# Logits of rates by R's glm, errors by sandwich, average partial effects by hand; Paule-Mandel by
# metafor. Data: Fatalities of the package AER (48 states, 1982 to 1988): the share of traffic
# deaths that involve alcohol (afatal), of all deaths (fatal). Papke and Wooldridge's data are not
# to be had from R's packages.
# Run in this folder:  Rscript rate_logit.R   (writes rate_fatalities.csv and rate_logit.json)
suppressMessages({library(sandwich); library(metafor); library(jsonlite)})
data("Fatalities", package = "AER")
d <- with(Fatalities, data.frame(state = as.character(state), year = as.integer(as.character(year)),
  share = afatal / fatal, fatal = fatal, unemp = unemp, beertax = beertax, income = income / 1000))
write.csv(format(d, digits = 15, trim = TRUE), "rate_fatalities.csv", row.names = FALSE, quote = FALSE)
d <- read.csv("rate_fatalities.csv")
holed <- d[seq_len(nrow(d)) %% 7 != 0, ]

logit <- function(d, w, squared = FALSE) {
  mean_of <- function(v) ave(v * w, d$state, FUN = sum) / ave(w, d$state, FUN = sum)
  d$w <- w; d$mu <- mean_of(d$unemp); d$mi <- mean_of(d$income)
  d$rows <- ave(w, d$state, FUN = length)
  f <- share ~ unemp + income + mu + mi + factor(year)
  if (squared) { d$mu2 <- mean_of(d$unemp^2); f <- update(f, . ~ . + I(unemp^2) + mu2) }
  if (length(unique(d$rows)) > 1) f <- update(f, . ~ . + rows)
  # the quasi-likelihood has the binomial's estimates and admits any share
  fit <- glm(f, family = quasibinomial, data = d, weights = w,
             control = glm.control(epsilon = 1e-15, maxit = 100))
  # HC0 by cluster, no factor of any kind
  v <- vcovCL(fit, cluster = d$state, type = "HC0", cadjust = FALSE)
  p <- fitted(fit); x <- model.matrix(fit); b <- coef(fit); m <- w / sum(w)
  effect <- function(change) {                  # change: n x p, d x / d variable
    eta <- drop(change %*% b)
    j <- colSums(m * p * (1 - p) * (1 - 2 * p) * eta * x) + colSums(m * p * (1 - p) * change)
    list(effect = sum(m * p * (1 - p) * eta), se = sqrt(drop(t(j) %*% v %*% j)))
  }
  of <- function(name) { z <- x * 0; z[, name] <- 1; z }
  du <- of("unemp"); if (squared) du[, "I(unemp^2)"] <- 2 * d$unemp
  keep <- setdiff(names(b), grep("factor", names(b), value = TRUE))
  list(n = nrow(d), k = length(b), coef = as.list(b[keep]), se = as.list(sqrt(diag(v))[keep]),
       pearson = sum(w * (d$share - p)^2 / (p * (1 - p))) / (nrow(d) - length(b)),
       unemp = effect(du), income = effect(of("income")))
}

d$pct <- 100 * d$share; d$vi <- 1e4 * d$share * (1 - d$share) / d$fatal
pm <- function(d) {
  fit <- rma(pct, vi, mods = ~ unemp + income + factor(state) + factor(year), data = d, method = "PM",
             control = list(tol = 1e-14, tau2.max = 1e6, maxiter = 1000))
  list(tau2 = fit$tau2, coef = as.list(coef(fit)[c("unemp", "income")]))
}
holed2 <- d[seq_len(nrow(d)) %% 7 != 0, ]
out <- list(
  versions = list(R = R.version.string, sandwich = as.character(packageVersion("sandwich")),
                  metafor = as.character(packageVersion("metafor")), AER = as.character(packageVersion("AER"))),
  binomial = logit(d, d$fatal), fractional = logit(d, rep(1, nrow(d))),
  binomial_holed = logit(holed, holed$fatal), fractional_holed = logit(holed, rep(1, nrow(holed))),
  squared = logit(d, d$fatal, squared = TRUE),
  paule_mandel = pm(d), paule_mandel_holed = pm(holed2))
writeLines(toJSON(out, auto_unbox = TRUE, digits = 15, pretty = TRUE), "rate_logit.json")

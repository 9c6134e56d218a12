# Writes mediation_talor.csv, mediation_bh1996.csv (the data) and mediation.json (what lavaan,
# sandwich and lm say of them). Run in this folder: Rscript mediation.R. Made with R 4.2.2,
# lavaan 0.6-14, psych 2.2.9, multilevel 2.7, sandwich 3.0-2, jsonlite 1.8.4.
suppressPackageStartupMessages({
  library(lavaan); library(psych); library(multilevel); library(sandwich); library(jsonlite)
})
write.csv(Tal_Or, "mediation_talor.csv", row.names = FALSE, quote = FALSE)
tal <- read.csv("mediation_talor.csv")
data(bh1996, package = "multilevel")
groups <- bh1996[bh1996$GRP <= 25, c("GRP", "HRS", "COHES", "LEAD", "WBEING")]
write.csv(format(groups, digits = 15, trim = TRUE), "mediation_bh1996.csv",
          row.names = FALSE, quote = FALSE)
bh <- read.csv("mediation_bh1996.csv")

# lavaan: labelled coefficients and everything defined by them
defined <- function(model, data, ...) {
  fit <- sem(model, data = data, meanstructure = TRUE, fixed.x = TRUE, ...)
  table <- parameterEstimates(fit)
  table <- table[table$label != "", ]
  setNames(as.list(table$est), table$label)
}
simple <- "
  pmi ~ a*cond
  reaction ~ direct*cond + b*pmi
  indirect := a*b
  total := direct + a*b"
parallel <- "
  pmi ~ a1*cond + age + gender
  import ~ a2*cond + age + gender
  reaction ~ direct*cond + b1*pmi + b2*import + age + gender
  pmi ~~ import
  i1 := a1*b1
  i2 := a2*b2
  indirect := i1 + i2
  total := direct + indirect
  contrast := i1 - i2"
serial <- "
  import ~ a1*cond + age
  pmi ~ a2*cond + d*import + age
  reaction ~ direct*cond + b1*import + b2*pmi + age
  i1 := a1*b1
  i2 := a2*b2
  i12 := a1*d*b2
  indirect := i1 + i2 + i12
  total := direct + indirect
  c1 := i1 - i2
  c2 := i1 - i12
  c3 := i2 - i12"
chain <- "
  COHES ~ a1*HRS
  LEAD ~ a2*HRS + d12*COHES
  WBEING ~ direct*HRS + b1*COHES + b2*LEAD"

# every equation of the chain stacked into one regression: the joint clustered covariance, no factor
stacked <- function(data) {
  n <- nrow(data)
  block <- function(at, x) { out <- matrix(0, 3 * n, ncol(x)); out[(at - 1) * n + 1:n, ] <- x; out }
  x1 <- with(data, cbind(HRS, 1))
  x2 <- with(data, cbind(HRS, COHES, 1))
  x3 <- with(data, cbind(HRS, COHES, LEAD, 1))
  x <- cbind(block(1, x1), block(2, x2), block(3, x3))
  y <- with(data, c(COHES, LEAD, WBEING))
  fit <- lm(y ~ 0 + x)
  v <- vcovCL(fit, cluster = rep(data$GRP, 3), type = "HC0", cadjust = FALSE)
  keep <- c(1, 3, 4, 6, 7, 8) # a1; a2, d12; direct, b1, b2
  list(coef = unname(coef(fit)[keep]), vcov = unname(v[keep, keep]))
}
clustered <- function() {
  fit <- sem(chain, data = bh, meanstructure = TRUE, fixed.x = TRUE, estimator = "MLR",
             cluster = "GRP", information = "observed")
  names <- c("a1", "a2", "d12", "direct", "b1", "b2")
  list(coef = unname(coef(fit)[names]), vcov = unname(unclass(vcov(fit))[names, names]))
}

levels_of <- function() {
  means <- aggregate(. ~ GRP, bh, mean)
  paths <- function(data, effects) {
    at <- function(formula, name) unname(coef(lm(as.formula(paste(formula, effects)), data))[name])
    list(a = at("LEAD ~ HRS", "HRS"), b = at("WBEING ~ HRS + LEAD", "LEAD"),
         direct = at("WBEING ~ HRS + LEAD", "HRS"), total = at("WBEING ~ HRS", "HRS"))
  }
  list(within = paths(bh, "+ factor(GRP)"), between = paths(means, ""), pooled = paths(bh, ""))
}

write_json(
  list(simple = defined(simple, tal), parallel = defined(parallel, tal),
       serial = defined(serial, tal), stacked = stacked(bh), clustered = clustered(),
       levels = levels_of()),
  "mediation.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)

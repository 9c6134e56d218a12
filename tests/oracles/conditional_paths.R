# Writes conditional_paths.csv (the data) and conditional_paths.json (what lavaan says of them). Run
# in this folder: Rscript conditional_paths.R. Made with R 4.2.2, lavaan 0.6-14, multilevel 2.7,
# jsonlite 1.8.4. Data: the bh1996 soldiers of package multilevel, groups 26 to 45. Products are
# made of the columns as they are (not centred), then group means are taken out of everything, so
# that lavaan's coefficients are those of equations with group dummies.
suppressPackageStartupMessages({ library(lavaan); library(multilevel); library(jsonlite) })
data(bh1996, package = "multilevel")
kept <- bh1996[bh1996$GRP %in% 26:45, c("GRP", "HRS", "COHES", "LEAD", "WBEING")]
write.csv(format(kept, digits = 15, trim = TRUE), "conditional_paths.csv",
          row.names = FALSE, quote = FALSE)
bh <- read.csv("conditional_paths.csv")
bh$XW <- bh$HRS * bh$LEAD
bh$MW <- bh$COHES * bh$LEAD
bh$XM <- bh$HRS * bh$COHES
within <- as.data.frame(lapply(bh[-1], function(v) v - ave(v, bh$GRP)))
# factors with group means taken off before they are multiplied, and taken off again afterwards
double <- within
double$XW <- with(within, HRS * LEAD); double$XW <- double$XW - ave(double$XW, bh$GRP)
double$MW <- with(within, COHES * LEAD); double$MW <- double$MW - ave(double$MW, bh$GRP)

defined <- function(model, data) {
  fit <- sem(model, data = data, fixed.x = TRUE)
  table <- parameterEstimates(fit)
  table <- table[table$label != "", ]
  setNames(as.list(table$est), table$label)
}
lines <- function(at, a, b, d) {
  line <- function(intercept, slope) {
    if (slope == "") rep(intercept, length(at)) else sprintf("(%s + %s*(%.17g))", intercept, slope, at)
  }
  paste(c(sprintf("i%d := %s*%s", seq_along(at), line("a", a), line("b", b)),
          sprintf("direct%d := 1*%s", seq_along(at), line("direct", d))), collapse = "\n")
}
slopes <- list(a = c("a3", "", ""), b = c("", "b3", ""), all = c("a3", "b3", "d3"))
conditional <- function(at, data) {
  sapply(names(moderated), simplify = FALSE, function(m) {
    s <- slopes[[m]]
    defined(paste(moderated[[m]], lines(at, s[1], s[2], s[3]), sep = "\n"), data)
  })
}
at <- c(1.5, 2.5, 3.5)
moderated <- list(
  a = "COHES ~ a*HRS + LEAD + a3*XW
       WBEING ~ direct*HRS + b*COHES + LEAD
       index := a3*b",
  b = "COHES ~ a*HRS + LEAD
       WBEING ~ direct*HRS + b*COHES + LEAD + b3*MW
       index := a*b3",
  all = "COHES ~ a*HRS + LEAD + a3*XW
         WBEING ~ direct*HRS + d3*XW + b*COHES + LEAD + b3*MW
         curvature := a3*b3")
x <- c(9, 11.5); held <- 3.25
crossed <- sprintf("
  COHES ~ a*HRS
  WBEING ~ direct*HRS + b*COHES + i*XM
  before := %.17g + a*(%.17g - %.17g)
  controlled_direct := (direct + i*%.17g)*(%.17g)
  reference_interaction := i*(before - %.17g)*(%.17g)
  mediated_interaction := i*a*(%.17g)^2
  pure_indirect := (b + i*%.17g)*a*(%.17g)",
  mean(bh$COHES), x[1], mean(bh$HRS), held, diff(x), held, diff(x), diff(x), x[1], diff(x))
out <- list(
  at = at, exposure = x, mediator = held,
  raw = conditional(at, within),
  within_at = c(-0.5, 0, 0.5),
  within = conditional(c(-0.5, 0, 0.5), double),
  crossed = defined(crossed, within))
write_json(out, "conditional_paths.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)

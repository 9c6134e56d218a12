# Path models from matrices by lavaan (saturated, maximum likelihood: variances divided by n).
# Tal_Or: covariances of the presumed media influence data (psych, Tal-Or et al. 2010, n = 123);
# kerckhoff: correlations as printed (Kerckhoff 1974, in the documentation of psych, n = 767).
# Run: Rscript tests/oracles/sensitivity_lavaan.R > tests/oracles/sensitivity_lavaan.json
suppressMessages({library(lavaan); library(psych); library(jsonlite)})
columns <- c("cond", "pmi", "import", "reaction")
media <- cov(Tal_Or[, columns])
names <- c("Intelligence", "Siblings", "FatherEd", "FatherOcc", "Grades", "EducExp", "OccupAsp")
kerckhoff <- getCov("1
 -.100  1
  .277 -.152  1
  .250 -.108  .611  1
  .572 -.105  .294  .248  1
  .489 -.213  .446  .410  .597  1
  .335 -.153  .303  .331  .478  .651  1", names = names)
run <- function(model, matrix, n) {
  fit <- sem(model, sample.cov = matrix, sample.nobs = n, fixed.x = TRUE,
             control = list(rel.tol = 1e-14, iter.max = 10000))
  table <- parameterEstimates(fit)
  table <- table[table$label != "", c("label", "est", "se")]
  free <- vcov(fit)
  keep <- colnames(free) %in% table$label
  list(paths = table, vcov = free[keep, keep], order = colnames(free)[keep])
}
simple <- "pmi ~ a*cond
           reaction ~ b*pmi + direct*cond
           indirect := a*b"
two <- "pmi ~ a1*cond
        import ~ a2*cond
        pmi ~~ import
        reaction ~ b1*pmi + b2*import + direct*cond
        ind1 := a1*b1
        ind2 := a2*b2
        indirect := a1*b1 + a2*b2
        total := direct + a1*b1 + a2*b2"
serial <- "Grades ~ a1*Intelligence + Siblings + FatherEd + FatherOcc
           EducExp ~ a2*Intelligence + d*Grades + Siblings + FatherEd + FatherOcc
           OccupAsp ~ b1*Grades + b2*EducExp + direct*Intelligence + Siblings + FatherEd + FatherOcc
           ind1 := a1*b1
           ind2 := a2*b2
           ind12 := a1*d*b2
           indirect := a1*b1 + a2*b2 + a1*d*b2"
cat(toJSON(list(
  versions = list(R = R.version.string, lavaan = as.character(packageVersion("lavaan")),
                  psych = as.character(packageVersion("psych"))),
  media = media, columns = columns, kerckhoff = unclass(kerckhoff), names = names,
  simple = run(simple, media, 123), two = run(two, media, 123),
  serial = run(serial, kerckhoff, 767)
), digits = NA, auto_unbox = TRUE))

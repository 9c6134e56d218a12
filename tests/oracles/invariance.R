# One factor in several groups by maximum likelihood (lavaan): configural, metric and scalar models,
# and the congruence of loadings (psych). The answers are Holzinger and Swineford's, which come with
# lavaan: three verbal tests, two visual ones and one of speed, in two schools and (for more groups) four grades.
# Run: Rscript tests/oracles/invariance.R > tests/oracles/invariance.json
suppressMessages({library(lavaan); library(psych); library(jsonlite)})
answers <- HolzingerSwineford1939
items <- c("x4", "x5", "x6", "x1", "x9", "x2")
answers$group <- with(answers, paste(school, ifelse(is.na(grade), 7, grade)))
model <- paste("f =~", paste(items, collapse = " + "))
fits <- function(group) {
  one <- function(equal) cfa(model, data = answers, group = group, group.equal = equal, std.lv = TRUE,
                             meanstructure = TRUE)
  all <- list(configural = one(""), metric = one("loadings"),
              scalar = one(c("loadings", "intercepts")))
  measures <- t(sapply(all, fitMeasures, c("chisq", "df", "cfi", "rmsea")))
  step <- lavTestLRT(all[[1]], all[[2]], all[[3]])
  standard <- lapply(lavInspect(all[[1]], "std"), function(g) as.vector(g$lambda))
  list(groups = lavInspect(all[[1]], "group.label"), fit = as.data.frame(measures),
       difference = step[["Chisq diff"]][2:3], p = step[["Pr(>Chisq)"]][2:3],
       loadings = standard,
       latent_means = sapply(lavInspect(all[[3]], "est"), function(g) as.vector(g$alpha)),
       latent_variances = sapply(lavInspect(all[[3]], "est"), function(g) as.vector(g$psi)),
       congruence = as.vector(factor.congruence(list(matrix(standard[[1]]), matrix(standard[[2]])), digits = 12)[1, 2]))
}
cat(toJSON(list(
  versions = list(R = R.version.string, lavaan = as.character(packageVersion("lavaan")),
                  psych = as.character(packageVersion("psych"))),
  answers = answers[, c("school", "group", items)], items = items,
  two = fits("school"), four = fits("group")
), digits = NA, auto_unbox = TRUE, dataframe = "columns"))
cat("\n")

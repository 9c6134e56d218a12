# Raking by survey::rake, trimming by survey::trimWeights, the mean and its error by survey::svymean,
# on answers that come with the package (apiclus1 of survey, no cluster taken into account).
# Run: Rscript tests/oracles/weighting.R > tests/oracles/weighting.json
suppressMessages({library(survey); library(jsonlite)})
data(api)
some <- apiclus1[, c("stype", "awards", "api00")]
some$size <- cut(apiclus1$enroll, c(0, 350, 600, Inf), labels = c("small", "middle", "large"))
some$base <- round(1 + apiclus1$meals / 100, 2)
whole <- apipop
whole$size <- cut(whole$enroll, c(0, 350, 600, Inf), labels = c("small", "middle", "large"))
whole <- whole[!is.na(whole$size), ]
margin <- function(name) {
  counts <- as.data.frame(table(whole[[name]], dnn = name)); names(counts) <- c(name, "Freq"); counts
}
targets <- list(margin("stype"), margin("awards"), margin("size"))
tight <- list(maxit = 1000, epsilon = 1e-11, verbose = FALSE)
raked <- function(base) {
  design <- svydesign(ids = ~1, weights = base, data = some)
  rake(design, list(~stype, ~awards, ~size), targets, control = tight)
}
equal <- raked(~rep(1, nrow(some)))
based <- raked(~base)
limit <- 1.6 * mean(weights(equal))
trimmed <- trimWeights(equal, upper = limit, strict = TRUE)
plain <- svydesign(ids = ~1, weights = ~w, data = transform(some, w = weights(equal)))
found <- svymean(~api00, plain)
cat(toJSON(list(
  versions = list(R = R.version.string, survey = as.character(packageVersion("survey"))),
  respondents = transform(some, stype = as.character(stype), awards = as.character(awards),
                          size = as.character(size)),
  margins = lapply(targets, function(t) setNames(as.list(t$Freq), as.character(t[[1]]))),
  names = c("stype", "awards", "size"),
  weights = as.vector(weights(equal)), weights_based = as.vector(weights(based)),
  trim = 1.6, weights_trimmed = as.vector(weights(trimmed)),
  mean = as.numeric(coef(found)), std_error = as.numeric(SE(found)),
  std_error_raked = as.numeric(SE(svymean(~api00, equal)))
), digits = NA, auto_unbox = TRUE))
cat("\n")

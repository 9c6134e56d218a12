# Respondents raked wave by wave (survey::rake run to convergence), then weighted means of recoded
# answers by unit and wave (survey::svyby over svymean). Units are the strata of a wave, so that the
# error of each takes its own n: n / (n - 1). `domain_` is the same without strata, where n is the
# wave's. Weights are taken as given (weights = ~w), as raking would be after weights were made.
# Run: Rscript tests/oracles/weighing.R > tests/oracles/weighing.json
suppressMessages({library(survey); library(jsonlite)})
set.seed(20261123, kind = "Mersenne-Twister")
n <- 900
data <- data.frame(
  unit = sample(c("A", "B", "C", "D"), n, TRUE, c(.4, .3, .2, .1)),
  wave = sample(c("2024-01", "2024-02", "2024-03"), n, TRUE),
  shift = sample(c("day", "late", "night"), n, TRUE, c(.6, .3, .1)),
  tenure = sample(c("<1", ">=1"), n, TRUE, c(.35, .65)),
  score = sample(0:10, n, TRUE, c(3, 1, 1, 2, 2, 4, 5, 8, 9, 7, 6)),
  effort = sample(1:5, n, TRUE),
  one = sample(1:5, n, TRUE), two = sample(1:5, n, TRUE),
  told = sample(c("yes", "no"), n, TRUE), stringsAsFactors = FALSE)
data$effort[sample(n, 40)] <- NA
margins <- list(shift = c(day = .45, late = .3, night = .25), tenure = c("<1" = .2, ">=1" = .8))
tight <- list(maxit = 1000, epsilon = 1e-12, verbose = FALSE)
targets <- function(size) lapply(names(margins), function(m) {
  d <- data.frame(names(margins[[m]]), as.vector(margins[[m]]) * size); names(d) <- c(m, "Freq"); d
})
data$w <- NA; data$trimmed <- NA
for (wave in unique(data$wave)) {
  here <- data$wave == wave
  size <- sum(here)
  design <- svydesign(ids = ~1, weights = ~rep(1, size), data = data[here, ])
  raked <- rake(design, list(~shift, ~tenure), targets(size), control = tight)
  data$w[here] <- weights(raked)
  data$trimmed[here] <- weights(trimWeights(raked, upper = 1.8, strict = TRUE))
}
recoded <- transform(data, nps = 100 * ((score >= 9) - (score <= 6)), yes = 100 * (told == "yes"),
                     scale = (one + two) / 2)
by_unit <- function(column, weight) {
  do.call(rbind, lapply(sort(unique(recoded$wave)), function(wave) {
    here <- recoded[recoded$wave == wave & !is.na(recoded[[column]]), ]
    here$ww <- here[[weight]]
    answer <- as.formula(paste0("~", column))
    strata <- svydesign(ids = ~1, strata = ~unit, weights = ~ww, data = here)
    domain <- svydesign(ids = ~1, weights = ~ww, data = here)
    found <- svyby(answer, ~unit, strata, svymean)
    other <- svyby(answer, ~unit, domain, svymean)
    data.frame(measure = column, weight = weight, wave = wave, unit = found$unit,
               estimate = as.vector(coef(found)), std_error = as.vector(SE(found)),
               domain_error = as.vector(SE(other)), wave_n = nrow(here))
  }))
}
parts <- lapply(c("w", "trimmed"), function(weight)
  do.call(rbind, lapply(c("nps", "effort", "scale", "yes"), by_unit, weight = weight)))
cat(toJSON(list(
  versions = list(R = R.version.string, survey = as.character(packageVersion("survey"))),
  trim = 1.8, margins = lapply(margins, as.list), respondents = data, found = do.call(rbind, parts)
), digits = NA, auto_unbox = TRUE, na = "null"))
cat("\n")

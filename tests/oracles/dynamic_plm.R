# Writes dynamic_empluk.csv (the data) and dynamic_plm.json (what plm says of them).
# Run in this folder: Rscript dynamic_plm.R. Made with R 4.2.2, plm 2.6-2, jsonlite 1.8.4.
library(plm)
library(jsonlite)
data("EmplUK", package = "plm")
write.csv(format(EmplUK, digits = 15, trim = TRUE),
          "dynamic_empluk.csv", row.names = FALSE, quote = FALSE)
EmplUK <- read.csv("dynamic_empluk.csv")
# The same with holes: every 17th row gone, so that calendars of firms have gaps.
gaps <- EmplUK[seq_len(nrow(EmplUK)) %% 17 != 0, ]

answers <- function(fit) {
  robust <- vcovHC(fit)
  periods <- if (fit$args$effect == "twoways") length(fit$args$namest) else 0
  k <- ncol(robust) - periods
  coef <- if (fit$args$model == "twosteps") fit$coefficients[[2]] else fit$coefficients
  out <- list(
    coef = unname(coef[seq_len(k)]),
    robust = unname(robust[seq_len(k), seq_len(k)]),
    unadjusted = unname(vcov(fit)[seq_len(k), seq_len(k)]),
    instruments = ncol(fit$W[[1]])
  )
  if (fit$args$transformation == "d") { # of the system, mtest forgets the moments in levels
    out$ar <- as.numeric(c(mtest(fit, 1, vcov = robust)$statistic,
                           mtest(fit, 2, vcov = robust)$statistic))
    out$ar_unadjusted <- as.numeric(c(mtest(fit, 1)$statistic, mtest(fit, 2)$statistic))
  }
  if (fit$args$model == "twosteps") {
    test <- sargan(fit, "twosteps")
    out$hansen <- unname(test$statistic)
    out$df <- unname(test$parameter)
  }
  out
}

a <- log(emp) ~ lag(log(emp), 1:2) + lag(log(wage), 0:1) + lag(log(capital), 0:2) +
  lag(log(output), 0:2) | lag(log(emp), 2:99)
b <- log(emp) ~ lag(log(emp), 1:2) + lag(log(wage), 0:1) + log(capital) +
  lag(log(output), 0:1) | lag(log(emp), 2:99)
limited <- log(emp) ~ lag(log(emp), 1:2) + lag(log(wage), 0:1) + log(capital) +
  lag(log(output), 0:1) | lag(log(emp), 2:4) + lag(log(wage), 2:3) + lag(log(capital), 1:2)
ar <- log(emp) ~ lag(log(emp), 1) + lag(log(wage), 0:1) + lag(log(capital), 0:1) |
  lag(log(emp), 2:99) + lag(log(wage), 2:99) + lag(log(capital), 2:99)

fit <- function(formula, data, ...) pgmm(formula, data = pdata.frame(data, c("firm", "year")), ...)
d <- function(formula, data, model, effect = "twoways", collapse = FALSE)
  answers(fit(formula, data, effect = effect, model = model, collapse = collapse))
s <- function(data, model, collapse = FALSE)
  answers(fit(ar, data, effect = "twoways", model = model, collapse = collapse,
              transformation = "ld"))

found <- list()
for (model in c("onestep", "twosteps")) {
  found[[paste0("a_", model)]] <- d(a, EmplUK, model)
  found[[paste0("b_", model)]] <- d(b, EmplUK, model)
  found[[paste0("b_collapsed_", model)]] <- d(b, EmplUK, model, collapse = TRUE)
  found[[paste0("b_no_periods_", model)]] <- d(b, EmplUK, model, effect = "individual")
  found[[paste0("limited_", model)]] <- d(limited, EmplUK, model)
  found[[paste0("limited_collapsed_", model)]] <- d(limited, EmplUK, model, collapse = TRUE)
  found[[paste0("difference_", model)]] <- d(ar, EmplUK, model)
  found[[paste0("system_", model)]] <- s(EmplUK, model)
  found[[paste0("system_collapsed_", model)]] <- s(EmplUK, model, collapse = TRUE)
  found[[paste0("gaps_b_", model)]] <- d(b, gaps, model)
  found[[paste0("gaps_b_collapsed_", model)]] <- d(b, gaps, model, collapse = TRUE)
  found[[paste0("gaps_system_collapsed_", model)]] <- s(gaps, model, collapse = TRUE)
}
write_json(found, "dynamic_plm.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)

# Estimators and errors of plm, sandwich, clubSandwich and lme4 on data that R packages ship.
# Run:  Rscript tests/oracles/estimators.R .../linearmodels/datasets/wage_panel/wage_panel.csv.bz2
# (the file that linearmodels ships); writes estimators.json and petersen.csv.gz beside this script.
# Every option is pinned. Small-sample factors are left out here (HC0, adjust = FALSE) and applied
# by the test, so that each convention is named in one place: tests/models/test_oracles_r.py.
suppressMessages({library(plm); library(sandwich); library(clubSandwich); library(lme4); library(jsonlite)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
data("Grunfeld", package = "plm"); data("Produc", package = "plm")
data("PetersenCL", package = "sandwich")
Produc <- transform(Produc, lgsp = log(gsp), lpcap = log(pcap), lpc = log(pc), lemp = log(emp))
Wage <- read.csv(commandArgs(trailingOnly = TRUE)[1])  # Vella and Verbeek (1998)
# PetersenCL holds single precision: 9 digits are all of it, and what the test reads
PetersenCL <- transform(PetersenCL, x = signif(x, 9), y = signif(y, 9))
cases <- list(
  grunfeld = list(d = Grunfeld, i = c("firm", "year"), y = "inv", x = c("value", "capital"), fixed = NULL),
  produc = list(d = Produc, i = c("state", "year"), y = "lgsp",
                x = c("lpcap", "lpc", "lemp", "unemp"), fixed = NULL),
  holed = list(d = Produc[seq_len(nrow(Produc)) %% 7 != 0, ], i = c("state", "year"), y = "lgsp",
               x = c("lpcap", "lpc", "lemp", "unemp"), fixed = NULL),  # unbalanced
  wage_panel = list(d = Wage, i = c("nr", "year"), y = "lwage",
                    x = c("expersq", "married", "union"), fixed = c("educ", "black")),
  petersen = list(d = PetersenCL, i = c("firm", "year"), y = "y", x = "x", fixed = NULL))

numbers <- function(coef, vcov, terms)
  list(coef = as.list(coef[terms]), se = as.list(sqrt(diag(as.matrix(vcov)))[match(terms, names(coef))]))

# REML of Mundlak's model: with the unit means in, the likelihood of a balanced panel falls into a
# within and a between part, and REML's variances are Swamy and Arora's. lmer stops within 1e-6 of
# the optimum; the slope of its criterion is zero there to 1e-9.
reml <- function(formula, d, terms) {
  f <- update(formula, . ~ . + (1 | u))
  quiet <- function(...) suppressWarnings(suppressMessages(lmer(f, d, REML = TRUE, ...)))
  near <- getME(quiet(), "theta"); criterion <- quiet(devFunOnly = TRUE)
  slope <- function(theta) criterion(theta * (1 + 1e-4)) - criterion(theta * (1 - 1e-4))
  best <- uniroot(slope, near * c(0.99, 1.01), tol = 1e-13 * near)$root
  m <- quiet(start = best, control = lmerControl(optimizer = NULL))
  numbers(fixef(m), vcov(m), terms)
}

answers <- function(case) {
  d <- case$d[order(case$d[[case$i[1]]], case$d[[case$i[2]]]), ]
  d$u <- factor(d[[case$i[1]]]); d$t <- factor(d[[case$i[2]]]); d$time <- as.integer(d$t)
  x <- case$x; all <- c(x, case$fixed)
  f <- reformulate(all, case$y); within <- reformulate(x, case$y)
  for (name in x) d[[paste0(name, "_between")]] <- ave(d[[name]], d$u)
  mundlak <- c(all, paste0(x, "_between"))
  p <- function(formula, model, ...) plm(formula, d, index = case$i, model = model, ...)
  out <- list()

  # pooled least squares: the constant is counted, no unit effects
  m <- lm(f, d); b <- coef(m)
  out$pooled_unadjusted <- numbers(b, vcov(m), all)
  out$pooled_hc1 <- numbers(b, vcovHC(m, type = "HC1"), all)
  out$pooled_cr1 <- numbers(b, vcovCL(m, d$u, type = "HC1", cadjust = TRUE), all)  # Stata's
  out$pooled_two_way <- numbers(b, vcovCL(m, d[c("u", "t")], type = "HC0", cadjust = FALSE, multi0 = FALSE), all)
  out$pooled_dk <- numbers(b, vcovPL(m, cluster = d$u, order.by = d$time, lag = case$lag,
                                     aggregate = TRUE, adjust = FALSE), all)
  out$pooled_cr3 <- numbers(b, vcovCR(m, d$u, type = "CR3"), all)

  m <- p(f, "between"); b <- coef(m)
  out$between_unadjusted <- numbers(b, vcov(m), all)

  # within: one-way and two-way by least squares on dummies, so that HC1 charges every level
  m <- lm(update(within, . ~ . + u), d); b <- coef(m)
  out$unit_unadjusted <- numbers(b, vcov(m), x)
  out$unit_hc1 <- numbers(b, vcovHC(m, type = "HC1"), x)
  w <- p(within, "within", effect = "individual"); b <- coef(w)
  out$unit_cr0 <- numbers(b, vcovHC(w, "arellano", type = "HC0", cluster = "group"), x)
  out$unit_cr3 <- numbers(b, vcovCR(w, cluster = "individual", type = "CR3"), x)
  out$unit_dk <- numbers(b, vcovSCC(w, type = "HC0", maxlag = case$lag), x)
  m <- lm(update(within, . ~ . + u + t), d); b <- coef(m)
  out$both_unadjusted <- numbers(b, vcov(m), x)
  out$both_hc1 <- numbers(b, vcovHC(m, type = "HC1"), x)
  w <- p(within, "within", effect = "twoways"); b <- coef(w)
  out$both_cr0 <- numbers(b, vcovHC(w, "arellano", type = "HC0", cluster = "group"), x)
  # periods as dummies: leaving a unit out then estimates them again, which clubSandwich does not do
  # where plm has swept them out
  swept <- p(update(within, . ~ . + t), "within", effect = "individual")
  out$both_cr3 <- numbers(coef(swept), vcovCR(swept, cluster = "individual", type = "CR3"), x)
  out$both_two_way <- numbers(b, vcovDC(w, type = "HC0"), x)
  out$both_dk <- numbers(b, vcovSCC(w, type = "HC0", maxlag = case$lag), x)

  # Fama-MacBeth: mean groups over periods
  m <- pmg(f, d, index = rev(case$i), model = "mg"); b <- coef(m)
  out$fama_macbeth <- numbers(b, vcov(m), all)

  # unbalanced, plm differences rows and not periods, and random effects weight units otherwise
  if (nrow(d) < nlevels(d$u) * nlevels(d$t)) return(out)
  # first differences without a constant
  m <- p(update(within, . ~ . - 1), "fd"); b <- coef(m)
  out$difference_unadjusted <- numbers(b, vcov(m), x)
  out$difference_cr0 <- numbers(b, vcovHC(m, "arellano", type = "HC0", cluster = "group"), x)

  # random effects, Swamy-Arora; with unit means: Mundlak's
  m <- p(f, "random", random.method = "swar"); b <- coef(m)
  out$random_unadjusted <- numbers(b, vcov(m), all)
  out$random_cr0 <- numbers(b, vcovHC(m, "arellano", type = "HC0", cluster = "group"), all)
  m <- p(reformulate(mundlak, case$y), "random", random.method = "swar"); b <- coef(m)
  out$mundlak_unadjusted <- numbers(b, vcov(m), mundlak)
  out$mundlak_cr0 <- numbers(b, vcovHC(m, "arellano", type = "HC0", cluster = "group"), mundlak)
  out$mundlak_reml <- reml(reformulate(mundlak, case$y), d, mundlak)
  out
}
lags <- function(t) floor(4 * (t / 100)^(2 / 9))
for (name in names(cases)) cases[[name]]$lag <- lags(length(unique(cases[[name]]$d[[cases[[name]]$i[2]]])))
results <- lapply(cases, answers)
versions <- sapply(c("plm", "sandwich", "clubSandwich", "lme4"), function(n) as.character(packageVersion(n)))
write_json(list(versions = as.list(c(R = R.version.string, versions)), results = results),
           file.path(here, "estimators.json"), auto_unbox = TRUE, digits = I(15), pretty = TRUE)
out <- gzfile(file.path(here, "petersen.csv.gz"), "w", compression = 9)
write.csv(PetersenCL, out, row.names = FALSE, quote = FALSE)
close(out)

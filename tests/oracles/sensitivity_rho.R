# Indirect effect given the correlation of the mediator and outcome errors: full maximum likelihood
# of m = a x + z + u, y = d x + b m + z + e with cor(u, e) = rho held fixed, by numerical optimum.
# Run: Rscript tests/oracles/sensitivity_rho.R > tests/oracles/sensitivity_rho.json
suppressMessages(library(jsonlite))
set.seed(20261122)
n <- 150
z <- rnorm(n); x <- 0.5 * z + rnorm(n); h <- rnorm(n)
m <- 0.6 * x - 0.3 * z + h + rnorm(n)
y <- 0.2 * x + 0.5 * m + 0.4 * z + 0.8 * h + rnorm(n)
W <- cbind(1, x, z)
indirect <- function(rho) {
  minus <- function(p) {
    u <- m - W %*% p[1:3]; e <- y - W %*% p[4:6] - m * p[7]
    s <- exp(p[8:9])
    q <- (u / s[1])^2 - 2 * rho * u * e / prod(s) + (e / s[2])^2
    n * sum(p[8:9]) + n / 2 * log(1 - rho^2) + sum(q) / (2 * (1 - rho^2))
  }
  slope <- function(p) {
    u <- m - W %*% p[1:3]; e <- y - W %*% p[4:6] - m * p[7]
    s <- exp(p[8:9]); k <- 1 / (1 - rho^2)
    du <- k * (u / s[1]^2 - rho * e / prod(s)); de <- k * (e / s[2]^2 - rho * u / prod(s))
    c(-t(W) %*% du, -t(W) %*% de, -sum(m * de), n - sum(u * du), n - sum(e * de))
  }
  fm <- lm(m ~ x + z); fy <- lm(y ~ x + z + m)
  start <- c(coef(fm), coef(fy), log(sigma(fm)), log(sigma(fy)))
  p <- start
  for (again in 1:20)
    p <- optim(p, minus, slope, method = "BFGS", control = list(reltol = 1e-16, maxit = 5000))$par
  p[2] * p[7]
}
rho <- c(-0.6, -0.2, 0, 0.3, 0.5, 0.8)
fm <- lm(m ~ x + z); fy <- lm(y ~ x + z + m); f0 <- lm(y ~ x + z)
cat(toJSON(list(
  R = R.version.string, data = data.frame(x, z, m, y), rho = rho,
  indirect = sapply(rho, indirect),
  rho_zero = cor(resid(fm), resid(f0)),
  r2_total = cor(resid(fm), resid(f0))^2 *
    (1 - summary(fm)$r.squared) * (1 - summary(fy)$r.squared)
), digits = NA, auto_unbox = TRUE))

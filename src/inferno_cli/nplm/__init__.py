"""The New Physics Learning Machine: a test of data against a reference, without a model of the signal.

arXiv:1806.02350 (the test), 1912.12155 (several variables, the clip), 2111.13633 (systematic uncertainties), 2204.02317
(kernels). The density of the data is that of the reference times exp(f), and f is a small network. What is calculated:

- The reference is a sample of weighted events whose weights sum to N(R0), the expected events. The data are events.
- The likelihood is extended: L(f, nu) = sum_R w (r exp(f) - 1) - sum_D (f + ln r) + sum (nu - a)^2 / 2 - a^2 / 2,
  where r(x; nu) is the change of the reference with the nuisance parameters, and a their auxiliary measurements.
- tau = -2 min L over f and nu; Delta = -2 min L over nu with f = 0; t = tau - Delta. A start at the minimum of Delta
  and a descent that never goes up make t >= 0.
- Toys draw Poisson numbers of events from the pool of simulated events, and a reference of their own from those events
  of the pool that are not in the data; so t has the fluctuations of both. Of events that a nuisance parameter makes
  more frequent there are more, with smaller weights: r must not enlarge their fluctuations.
- f sees features standardised in the reference with the nuisance parameters of Delta: stretched ones give no larger t.
- Weights of the network, not its biases, are between -clip and clip. The clip at which the median of t of toys is that
  of chi2, with as many degrees of freedom as f has parameters, is found by bisection; other toys then test it.
- What is minimised has few parameters: damped Newton steps get to the minimum in a hundred steps, where Adam takes 1e5.
  All toys of a chunk are one stack: parameters (toys, parameters), events (toys, events).
"""

"""The simulated company: causal model, answers, spells and the five exports."""

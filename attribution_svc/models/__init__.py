"""Attribution models and the statistics of experiments: pure functions, no store, no clock (`docs/models.md`).

`touch` makes journeys, `rules` credits one journey, `totals` sums many journeys under many rules, `markov`, `shapley`
and `counterfactual` learn from all `paths`, `allocate` splits money exactly, `registry` finds a model by its name,
`experiment` compares the arms of an A/B test, `worlds` and `simulate` measure the models where causes are known.
"""

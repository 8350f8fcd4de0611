"""Rounding bounds of correct computations: of every stage from its own inputs (L1), and in all, by an oracle (L2).

Notation: v the exact value, ṽ what is computed, |ṽ − v| ≤ E; u the unit roundoff; γ_n = n·u/(1 − n·u).

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition: sections 2.2 (the model of arithmetic), 3.1
to 3.5 (γ_n; inner products and products of matrices, in any order; how relative errors of products and quotients add
up) and 4.2 (sums).
"""

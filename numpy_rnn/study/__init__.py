"""The study of the gradient: DERIVATION.md executed, `numpy-rnn study`.

Two pages are made, and `document` has the formulas and tables of both.

- The lesson: `lesson_page` builds lesson/lesson.html of source/lesson.html and of the
  results of `reach`, when its source has changed. Its scripts are in lesson/.
- The evidence: each study writes it. In evidence/, `witnesses` judges the equations
  of `evaluated_equations`, `components` measures truncations, and `page` fills
  evidence.html with `equation_table` and `figures`.

`study_command` runs a study, and `folder` writes both pages into its folder.
"""

"""What several folders share: records, errors, checks of arguments and initial weights
of both packages; texts, files and packages of the command line and the suite.
"""

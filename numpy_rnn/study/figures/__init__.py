"""The figures of the study, a file each part, and the drawing of the network in the documents."""

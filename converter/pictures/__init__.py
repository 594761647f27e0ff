"""What is in a store, as pictures: patches, classes, places, histograms, statistics.

Drawn with matplotlib, which is loaded when a picture is drawn. May import `descriptions` and the
modules that lie beside the rooms.
"""

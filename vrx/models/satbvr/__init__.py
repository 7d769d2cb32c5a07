"""SATB-VR: its one stage, its windows, and how it is loaded."""

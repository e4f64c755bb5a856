"""`dualcoop demo`: what a few labels do, on photographs that ship with the package."""

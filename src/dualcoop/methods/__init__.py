"""What turns region features into scores: DualCoOp, and what it is compared with, behind one interface."""

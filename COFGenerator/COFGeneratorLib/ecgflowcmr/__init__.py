"""ECGFlowCMR: a cine of one plane from the 12-lead ECG alone (Fang et al., arXiv:2601.20904), built from its text.

Nothing here sees the patient: the anatomy of every cine is drawn from the training cohort's distribution.
"""

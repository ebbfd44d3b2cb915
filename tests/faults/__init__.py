"""The fault lab: real stores, real processes, and the faults that this field has met."""

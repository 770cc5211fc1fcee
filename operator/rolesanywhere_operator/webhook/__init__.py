"""Admission: an AdmissionReview in, an answer out, over TLS whose certificate may change.

Never imports kopf, never writes to the API server.
"""

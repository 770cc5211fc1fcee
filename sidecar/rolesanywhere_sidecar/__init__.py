"""An X.509 identity in, AWS credentials out.

Never imports Kubernetes, kopf or an AWS SDK: what it needs of them is a file, a variable, HTTP.
"""

"""What happens to a binding after it was admitted: conditions, Events, one leader at a time.

The only room that imports kopf. It may read bindings and write their status; it never sees a
Secret and never touches a pod.
"""

"""Identities in tokens: certificates and keys that a PKCS#11 URI names.

Only the child process loads a module, and nothing else here imports ``pkcs11``.

To read it for the first time, follow a signature down, and then look at what decides:

    hardwarekey     a key that signs like any other, and verifies what it signs
    supervisor      keeps one child process, and tries again after a failure
    conversation    what is asked of a module, in our words
    process         the parent's end of the child: ask, wait, kill
    framing         how the two speak
    child           the other end, a process of its own
    cryptoki        the module's functions; lazily helps

    searching       which certificate and key two URIs mean together
    locating        which token and object a URI means; facts, leaves and listing help
    matches         whether key and certificate belong together
    logins          whether there is a login; pins, latch, latchfile and verdicts help
    mechanisms      how a token is asked to sign
    modules         which module it is
    tally, errors   what is counted, and what can be wrong
"""

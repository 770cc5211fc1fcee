"""``doctor``: why it does not work, and what to do.

    coherence *       do the settings make sense together?
    places, ports     what is on this machine: files, folders, who listens
    hardware          module, tokens and PIN of a key that is in one
    specimen          the identity, through the code of serve; judged by
      demands *       what the service demands of a certificate
      chains *        what leads up from the leaf
      tags *          what becomes session tags
    journey           the way to the endpoint: network looks, reachability * judges
    asking            one CreateSession
    examination       all of them in order, each bounded
    printing *        text or JSON                                       (* pure)

Every check ends in a `findings.Finding`: a verdict, a stable word, a sentence, what to do. Changes
nothing, keeps nothing, and never shows a secret.
"""

from rolesanywhere_sidecar.doctor.command import Options, main

__all__ = ["Options", "main"]

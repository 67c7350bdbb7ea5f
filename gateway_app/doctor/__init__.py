"""Is this installation well? Each layer is looked at by what it is for, from the ground up.

`layers` is the order and what needs what; a layer is a module with ``look()``, which yields what
it finds. What can be wrong, with the fix, is in `gateway_app.traps`. Every layer is bounded in
time, and nothing that it does stays.
"""

from gateway_app.doctor.finding import Finding, Grade
from gateway_app.doctor.layers import examine

__all__ = ["Finding", "Grade", "examine"]

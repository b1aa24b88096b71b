"""Make asdf ready: at its first use it loads its extensions, for a second or more, and that is no access to data.

Import this module before the clock starts.
"""

import io

import asdf
import numpy as np

asdf.AsdfFile({"array": np.zeros(1)}).write_to(io.BytesIO())

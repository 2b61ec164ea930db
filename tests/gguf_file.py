# SPDX-License-Identifier: MIT
"""GGUF files that tests make."""
import struct


def write_gguf(path, keys, tensors):
    """keys: texts and floats; tensors: name -> (dims, floats)."""
    def text(t):
        return struct.pack('<Q', len(t)) + t.encode()
    out = b'GGUF' + struct.pack('<IQQ', 3, len(tensors), len(keys))
    for key, value in keys.items():
        out += text(key) + (struct.pack('<If', 6, value) if isinstance(value, float) else
                            struct.pack('<I', 8) + text(value))
    data = b''
    for name, (dims, values) in tensors.items():
        out += text(name) + struct.pack(f'<I{len(dims)}QIQ', len(dims), *dims, 0, len(data))
        data += struct.pack(f'<{len(values)}f', *values)
        data += b'\0' * (-len(data) % 32)
    with open(path, 'wb') as f:
        f.write(out + b'\0' * (-len(out) % 32) + data)

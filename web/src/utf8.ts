// SPDX-License-Identifier: MIT
// Lengths as the server counts them: bytes of UTF-8.

export function utf8Length(text: string): number {
  let n = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    if (code >= 0xd800 && code < 0xdc00 && i + 1 < text.length) {
      n += 2; // a pair: 2 units, 4 bytes
      i++;
    } else n += code < 0x800 ? 1 : 2;
  }
  return n;
}

/** The text without its first `bytes` bytes; null when that is inside a character. */
export function afterBytes(text: string, bytes: number): string | null {
  if (bytes === 0) return text;
  let n = 0;
  for (let i = 0; i < text.length; i++) {
    const point = text.codePointAt(i)!;
    n += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (point >= 0x10000) i++;
    if (n === bytes) return text.slice(i + 1);
    if (n > bytes) return null;
  }
  return null;
}

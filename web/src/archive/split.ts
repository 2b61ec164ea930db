// SPDX-License-Identifier: MIT
// Reads a large JSON array one element at a time, from bytes as they come: only the element that is
// being read is held. What is no array is one element.

export interface Element {
  /** Its JSON; null: larger than `most`. */
  text: string | null;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = new Set([0x5b, 0x7b]);
const CLOSE = new Set([0x5d, 0x7d]);
const COMMA = 0x2c;
const SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);

export class Splitter {
  private depth = 0;
  private inString = false;
  private escaped = false;
  private begun = false; // the outer array
  private over = false;
  private inside = false; // an element
  private kept: Uint8Array[] = [];
  private size = 0;

  constructor(
    private readonly give: (element: Element) => void,
    private readonly most: number,
  ) {}

  push(chunk: Uint8Array): void {
    let from = this.inside ? 0 : -1;
    for (let i = 0; i < chunk.length && !this.over; i++) {
      const x = chunk[i]!;
      if (this.inString) {
        if (this.escaped) this.escaped = false;
        else if (x === BACKSLASH) this.escaped = true;
        else if (x === QUOTE) this.inString = false;
        continue;
      }
      if (!this.begun) {
        if (SPACE.has(x) || x === 0xef || x === 0xbb || x === 0xbf) continue; // a BOM too
        if (x !== 0x5b) throw new SyntaxError('not an array');
        this.begun = true;
        continue;
      }
      if (!this.inside) {
        if (SPACE.has(x) || x === COMMA) continue;
        if (x === 0x5d) {
          this.over = true;
          continue;
        }
        this.inside = true;
        from = i;
      }
      if (x === QUOTE) this.inString = true;
      else if (OPEN.has(x)) this.depth++;
      else if (this.depth === 0 && (x === COMMA || x === 0x5d)) {
        this.end(chunk.subarray(from, i)); // a number or a word
        from = -1;
        this.over = x === 0x5d;
      } else if (CLOSE.has(x) && --this.depth === 0) {
        this.end(chunk.subarray(from, i + 1));
        from = -1;
      }
    }
    if (from >= 0) this.keep(chunk.subarray(from));
  }
  /** At the end of the bytes: whether the array was whole. */
  get whole(): boolean {
    return this.over;
  }

  private keep(part: Uint8Array): void {
    this.size += part.length;
    if (this.size > this.most) this.kept = [];
    else this.kept.push(part.slice()); // the chunk may be used again
  }
  private end(part: Uint8Array): void {
    this.keep(part);
    let text: string | null = null;
    if (this.size <= this.most) {
      const decoder = new TextDecoder();
      text = this.kept.map((p) => decoder.decode(p, { stream: true })).join('') + decoder.decode();
    }
    this.kept = [];
    this.size = 0;
    this.inside = false;
    this.give({ text });
  }
}

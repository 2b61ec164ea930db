// SPDX-License-Identifier: MIT
// A chat's messages are a tree by `parent`; what is shown is the path from a root to the head.

export interface Node {
  id: string;
  parent: string | null;
  created: number;
}

export class Tree<T extends Node> {
  private readonly nodes = new Map<string, T>();
  private readonly children = new Map<string | null, string[]>();

  constructor(nodes: Iterable<T> = []) {
    for (const node of nodes) this.put(node);
  }
  get(id: string | null | undefined): T | undefined {
    return id ? this.nodes.get(id) : undefined;
  }
  put(node: T): void {
    const old = this.nodes.get(node.id);
    this.nodes.set(node.id, node);
    if (old) return;
    const list = this.children.get(node.parent);
    if (list) list.push(node.id);
    else this.children.set(node.parent, [node.id]);
  }
  /** Removes a node and all below it. */
  remove(id: string): void {
    const node = this.nodes.get(id);
    if (!node) return;
    const siblings = this.children.get(node.parent);
    if (siblings) siblings.splice(siblings.indexOf(id), 1);
    const work = [id];
    for (let next = work.pop(); next; next = work.pop()) {
      work.push(...(this.children.get(next) ?? []));
      this.children.delete(next);
      this.nodes.delete(next);
    }
  }
  /** From the root to `head`; empty for an unknown head. A broken parent ends the walk. */
  path(head: string | null): T[] {
    const out: T[] = [];
    const seen = new Set<string>();
    for (let node = this.get(head); node && !seen.has(node.id); node = this.get(node.parent)) {
      seen.add(node.id);
      out.push(node);
    }
    return out.reverse();
  }
  siblings(id: string): string[] {
    const node = this.nodes.get(id);
    return node ? [...(this.children.get(node.parent) ?? [])] : [];
  }
  /** The newest leaf below `id`: where a switch to another answer leads. */
  leaf(id: string): string {
    let at = id;
    for (let next = this.children.get(at)?.at(-1); next; next = this.children.get(at)?.at(-1))
      at = next;
    return at;
  }
  all(): T[] {
    return [...this.nodes.values()];
  }
}

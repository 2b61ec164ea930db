// SPDX-License-Identifier: MIT
// A component that is drawn again only when a property changed (preact/compat's memo, without it).
import { Component, h, type FunctionComponent, type VNode } from 'preact';

export function memo<P extends object>(inner: FunctionComponent<P>): FunctionComponent<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      const old = this.props as Record<string, unknown>;
      const keys = Object.keys(next);
      return keys.some((k) => old[k] !== (next as Record<string, unknown>)[k]);
    }
    override render(): VNode {
      return h(inner as FunctionComponent, this.props as P) as VNode;
    }
  }
  return Memo as unknown as FunctionComponent<P>;
}

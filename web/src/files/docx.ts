// SPDX-License-Identifier: MIT
// The text of a Word document: word/document.xml out of the archive, paragraph by paragraph, tables
// as rows with bars.
import { unzipSync } from 'fflate';

/** A small archive may hold a huge file: more than this is refused. */
const XML_MAX = 64 * 1024 * 1024;
const WORD = 'http://schemas.openxmlformats.org/wordprocessingml/2006/main';

export function docxText(data: Uint8Array): string {
  const files = unzipSync(data, {
    filter: (f) => f.name === 'word/document.xml' && f.originalSize <= XML_MAX,
  });
  const xml = files['word/document.xml'];
  if (!xml) throw new Error('no word/document.xml of a usable size');
  const doc = new DOMParser().parseFromString(new TextDecoder().decode(xml), 'application/xml');
  const body = doc.getElementsByTagNameNS(WORD, 'body')[0];
  if (!body) throw new Error('no body in word/document.xml');
  const lines: string[] = [];
  for (const node of body.children) {
    if (node.localName === 'p') lines.push(paragraph(node));
    else if (node.localName === 'tbl')
      for (const row of node.getElementsByTagNameNS(WORD, 'tr'))
        lines.push([...row.getElementsByTagNameNS(WORD, 'tc')].map(cell).join(' | '));
  }
  return lines.join('\n');
}

const cell = (node: Element): string =>
  [...node.getElementsByTagNameNS(WORD, 'p')].map(paragraph).join(' ').trim();

function paragraph(node: Element): string {
  let text = '';
  for (const part of node.getElementsByTagNameNS(WORD, '*')) {
    if (part.localName === 't') text += part.textContent ?? '';
    else if (part.localName === 'tab') text += '\t';
    else if (part.localName === 'br') text += '\n';
  }
  return text;
}

// SPDX-License-Identifier: MIT
// Files become text in the browser: text and code as they are (UTF-8, UTF-16, EUC-KR), PDF and Word
// by readers that load when first needed. What is too long to be kept is cut, and says so; how much
// of it a model reads is the server's business.
import { ApiError } from '../api';
import { bytes, number, t } from '../i18n';
import { utf8Length } from '../utf8';
import { isPicture, readPicture } from './picture';

export interface ReadFile {
  name: string;
  text: string;
  /** Characters of the whole when only the first part is kept. */
  cutFrom?: number;
  /** Of a picture, whose text is a data address. */
  type?: string;
}
/** Larger files are not even opened. */
const FILE_MAX = 32 * 1024 * 1024;
/** The server takes up to 4 MiB of UTF-8. */
const TEXT_MAX = 4 * 1024 * 1024;
/** Of what the model sees at once; what is longer will hardly be read whole. */
const SHARE = 0.6;

/** Roughly how many tokens a text has: a Hangul syllable is most of one, Latin letters a quarter. */
export function tokensOf(text: string): number {
  let wide = 0;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x2e7f) wide++;
  return Math.ceil(wide * 0.75 + (text.length - wide) * 0.3);
}
/** Whether the server will have to leave its end out: it knows the tokens, this is a guess. */
export const isLong = (text: string, context: number): boolean =>
  tokensOf(text) > Math.max(256, context * SHARE);

/** Where to cut so that at most `max` bytes of UTF-8 are kept: at a line's end where one is near. */
export function cutAt(text: string, max: number): number {
  if (text.length * 3 <= max || utf8Length(text) <= max) return text.length;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (utf8Length(text.slice(0, mid)) <= max) low = mid;
    else high = mid - 1;
  }
  const line = text.lastIndexOf('\n', low);
  if (line > low * 0.9) return line + 1;
  const code = text.charCodeAt(low - 1);
  return code >= 0xd800 && code < 0xdc00 ? low - 1 : low;
}

/** Bytes of a text file as text; null when it is none. */
export function decode(data: Uint8Array): string | null {
  if (data[0] === 0xff && data[1] === 0xfe) return new TextDecoder('utf-16le').decode(data);
  if (data[0] === 0xfe && data[1] === 0xff) return new TextDecoder('utf-16be').decode(data);
  if (data.subarray(0, 65536).includes(0)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch {
    /* older Korean files, most of all CSV from spreadsheets */
  }
  try {
    return new TextDecoder('euc-kr', { fatal: true }).decode(data);
  } catch {
    return null;
  }
}

async function textOf(file: File): Promise<string> {
  const data = new Uint8Array(await file.arrayBuffer());
  const magic = String.fromCharCode(...data.subarray(0, 5));
  if (magic === '%PDF-') return (await import('./pdf')).pdfText(data);
  if (magic.startsWith('PK') && /\.docx$/i.test(file.name))
    return (await import('./docx')).docxText(data);
  const text = decode(data);
  if (text === null) throw new ApiError(t('fileKind', { name: file.name }), 0);
  return text;
}

/** Throws an ApiError, for people, when the file cannot be read. */
export async function readFile(file: File): Promise<ReadFile> {
  const name = file.name || 'text.txt';
  if (file.size > FILE_MAX) throw new ApiError(t('fileBig', { name, max: bytes(FILE_MAX) }), 0);
  if (isPicture(file)) return { name, ...(await readPicture(file)) };
  let text: string;
  try {
    text = (await textOf(file)).replace(/\r\n?/g, '\n').replace(/\u0000/g, '');
  } catch (error) {
    if (error instanceof ApiError) throw error;
    console.error(error);
    throw new ApiError(t('fileFail', { name }), 0);
  }
  if (!text.trim()) throw new ApiError(t('fileEmpty', { name }), 0);
  const at = cutAt(text, TEXT_MAX - GONE.length);
  return at < text.length
    ? { name, text: text.slice(0, at) + GONE, cutFrom: text.length }
    : { name, text };
}
/** For the model, which must not take a part for the whole. */
const GONE = '\n[The file goes on, but the rest was too long to be kept.]';

export const cutNote = (kept: number): string => t('fileCut', { kept: number(kept) });
export const cutReason = (kept: number, all: number): string =>
  t('fileCutWhy', { kept: number(kept), all: number(all) });

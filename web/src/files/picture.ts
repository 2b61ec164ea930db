// SPDX-License-Identifier: MIT
// Pictures become data addresses in the browser: upright, in a size that a model has use for, and
// without what a camera wrote beside the pixels (where, when). Whatever the browser can draw can be
// attached; what leaves it is PNG or JPEG.
import { ApiError } from '../api';
import { t } from '../i18n';

/** Models see 900 pixels a side or so. */
const SIDE_MAX = 1536;
/** What the server keeps of a file. */
const TEXT_MAX = 4 * 1024 * 1024;
const DATA = /^data:image\/(png|jpeg);base64,[A-Za-z0-9+/]+=*$/;

export const isPicture = (file: { type: string }): boolean =>
  file.type.startsWith('image/') && file.type !== 'image/svg+xml';
/** Whether a file's text is a picture that may be shown. */
export const isDataPicture = (text: string): boolean => DATA.test(text);

/** The size in which a picture is kept. */
export function fitted(width: number, height: number): [number, number] {
  const scale = Math.min(1, SIDE_MAX / Math.max(width, height, 1));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** Throws an ApiError, for people, when the browser cannot draw it. */
export async function readPicture(file: File): Promise<{ type: string; text: string }> {
  const name = file.name || 'picture';
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) throw new ApiError(t('pictureFail', { name }), 0);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = fitted(bitmap.width, bitmap.height);
  const draw = canvas.getContext('2d')!;
  draw.imageSmoothingQuality = 'high';
  draw.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  let text = file.type === 'image/jpeg' ? '' : canvas.toDataURL('image/png');
  if (!text || text.length > TEXT_MAX) {
    draw.globalCompositeOperation = 'destination-over'; // JPEG knows no transparency
    draw.fillStyle = '#fff';
    draw.fillRect(0, 0, canvas.width, canvas.height);
    text = canvas.toDataURL('image/jpeg', 0.9);
    if (text.length > TEXT_MAX) text = canvas.toDataURL('image/jpeg', 0.6);
  }
  if (!isDataPicture(text) || text.length > TEXT_MAX)
    throw new ApiError(t('pictureFail', { name }), 0);
  return { type: text.slice(5, text.indexOf(';')), text };
}

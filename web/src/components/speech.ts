// SPDX-License-Identifier: MIT
// Reading aloud with the browser's voices, sentence by sentence: long utterances are cut off by
// some browsers.
import { signal } from '@preact/signals';
import { langOf } from '../i18n';
import { plain } from './ui';

/** The message that is being read. */
export const speaking = signal<string | null>(null);

export function speak(id: string, text: string): void {
  stopSpeaking();
  const words = plain(text);
  const parts = words.match(/[^.!?。\n]+[.!?。\n]*/gu) ?? [words];
  speaking.value = id;
  parts.forEach((part, i) => {
    const said = new SpeechSynthesisUtterance(part.trim());
    said.lang = langOf(part) === 'ko' ? 'ko-KR' : 'en-US';
    if (i === parts.length - 1)
      said.onend = () => speaking.peek() === id && (speaking.value = null);
    said.onerror = () => speaking.peek() === id && (speaking.value = null);
    speechSynthesis.speak(said);
  });
}
export function stopSpeaking(): void {
  speaking.value = null;
  speechSynthesis.cancel();
}

// SPDX-License-Identifier: MIT
// The icons: 20 px grid, 1.5 px line. Never alone without a name beside or on the button.

const PATHS = {
  plus: 'M10 4v12M4 10h12',
  find: 'M9 4a5 5 0 1 1 0 10 5 5 0 0 1 0-10zM13 13l3.5 3.5',
  folder: 'M3 6.5V15a1 1 0 0 0 1 1h12a1 1 0 0 0 1-1V7.5a1 1 0 0 0-1-1h-6L8.5 4.5H4a1 1 0 0 0-1 1z',
  gear:
    'M8.5 3.5h3l.4 2.1 1.3.8 2-.7 1.5 2.6-1.6 1.4v1.6l1.6 1.4-1.5 2.6-2-.7-1.3.8-.4 2.1h-3l-.4-2.1-1.3-.8' +
    '-2 .7-1.5-2.6 1.6-1.4V9.7L3.3 8.3l1.5-2.6 2 .7 1.3-.8zM10 8a2.25 2.25 0 1 1 0 4.5A2.25 2.25 0 0 1 10 8z',
  clip:
    'M15.5 9l-5.7 5.7a3.2 3.2 0 0 1-4.5-4.5l6-6a2.1 2.1 0 0 1 3 3l-5.9 5.9' +
    'a1 1 0 0 1-1.4-1.4L12 6.5',
  up: 'M10 16V4.5M5 9.5l5-5 5 5',
  stop: 'M6 6h8v8H6z',
  copy: 'M7 7h9v9H7zM13 7V4H4v9h3',
  redo: 'M15.5 8A6 6 0 1 0 16 11M16 4v4h-4',
  edit: 'M4 16l.8-3.2L13 4.6l2.4 2.4-8.2 8.2zM11.5 6l2.4 2.4',
  ear: 'M4 8v4h2.5L10 15V5L6.5 8zM13 7.5a3.5 3.5 0 0 1 0 5M15 5a7 7 0 0 1 0 10',
  more: 'M5 10h.01M10 10h.01M15 10h.01',
  left: 'M12 5l-5 5 5 5',
  right: 'M8 5l5 5-5 5',
  down: 'M6 8l4 4 4-4',
  menu: 'M3.5 6h13M3.5 10h13M3.5 14h8',
  share: 'M10 12V3.5M7 6l3-3 3 3M5 10v6h10v-6',
  moon: 'M16 11.5A6.5 6.5 0 0 1 8.5 4a6.5 6.5 0 1 0 7.5 7.5z',
  sun:
    'M10 6.8a3.2 3.2 0 1 1 0 6.4 3.2 3.2 0 0 1 0-6.4zM10 2.5v1.5M10 16v1.5M2.5 10H4M16 10h1.5' +
    'M4.7 4.7l1.1 1.1M14.2 14.2l1.1 1.1M4.7 15.3l1.1-1.1M14.2 5.8l1.1-1.1',
  globe:
    'M10 3.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM3.5 10h13M10 3.5c4 4 4 9 0 13' +
    'M10 3.5c-4 4-4 9 0 13',
  check: 'M4.5 10.5l3.5 3.5 7.5-8',
  x: 'M5.5 5.5l9 9M14.5 5.5l-9 9',
  warn: 'M10 4L3 16h14zM10 9v3.2M10 14.2v.01',
  time: 'M10 3.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM10 6.5V10l2.5 2',
  link:
    'M8.5 11.5l3-3M9.5 6l1.2-1.2a3.2 3.2 0 0 1 4.5 4.5L14 10.5M10.5 14l-1.2 1.2' +
    'a3.2 3.2 0 0 1-4.5-4.5L6 9.5',
  off: 'M3.5 8.5a10 10 0 0 1 13 0M6.5 12a5.5 5.5 0 0 1 7 0M10 15.5v.01M4 4l12 12',
  save: 'M10 3.5V12M6.5 9l3.5 3.5L13.5 9M4 16h12',
  pin: 'M7 3.5h6M8 3.5v5L5.5 11.5h9L12 8.5v-5M10 11.5V17',
  box: 'M3.5 4.5h13v3.5h-13zM4.5 8v8h11V8M8 11h4',
  bin: 'M4 5.5h12M8 5.5V4h4v1.5M5.5 5.5l.7 10.5h7.6l.7-10.5M8.5 8.5v5M11.5 8.5v5',
  book:
    'M4 4.5h5a1.5 1.5 0 0 1 1 .5 1.5 1.5 0 0 1 1-.5h5v11h-5a1.5 1.5 0 0 0-1 .5' +
    ' 1.5 1.5 0 0 0-1-.5H4zM10 5v11',
  mic:
    'M10 3.5a2 2 0 0 1 2 2V10a2 2 0 0 1-4 0V5.5a2 2 0 0 1 2-2zM5.5 9.5a4.5 4.5 0 0 0 9 0' +
    'M10 14v3M7.5 17h5',
  goOn: 'M4 5.5h12M4 10h6M4 14.5h6M13 9.5l3 3-3 3',
  admin: 'M4 5h12M4 10h12M4 15h12M7 3.5v3M13 8.5v3M9 13.5v3',
  key:
    'M7 8.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7zM9.5 9.5L16 3.5M13 6.3l2.2 2.2M11 8.2l1.6 1.6',
  out: 'M8 4H4.5v12H8M8.5 10h8M13.5 6.5L17 10l-3.5 3.5',
  eye: 'M2.5 10S5.2 5 10 5s7.5 5 7.5 5-2.7 5-7.5 5-7.5-5-7.5-5zM10 7.8a2.2 2.2 0 1 1 0 4.4 2.2 2.2 0 0 1 0-4.4z',
  table: 'M3.5 4.5h13v11h-13zM3.5 8.2h13M3.5 11.9h13M8 4.5v11',
  chart: 'M4 4v12h12M7.5 13V9.5M11 13V6.5M14.5 13v-2',
  sliders: 'M3.5 6.5h7M14.5 6.5h2M3.5 13.5h2M9.5 13.5h7M12.5 4.5v4M7.5 11.5v4',
  good: 'M6.5 9L9.5 3.5c1.5 0 2 1 1.8 2.3L11 8h4.5l-1 7.5h-8zM6.5 9H3.5v6.5h3',
  print: 'M6 7.5V3.5h8v4M6 14H3.5V7.5h13V14H14M6 11.5h8V17H6z',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, small }: { name: IconName; small?: boolean }) {
  return (
    <svg
      class={`i${small ? ' s' : ''}${name === 'more' ? ' dots' : ''}`}
      viewBox="0 0 20 20"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

const LID = 'M9.8 2.6h8.4v1.7C22.6 5.5 25 9 25 13.2H3c0-4.2 2.4-7.7 6.8-8.9z';
const BOWL = 'M3.1 14.6h22.1c-.2 4.4-2.8 7.7-6.6 8.9v1.9h-9v-1.9c-3.8-1.2-6.3-4.5-6.5-8.9z';

/**
 * The moon jar: two bowls joined at the rim. While an answer is written the lid rises; it is a
 * picture of its own then, so that it moves without anything being painted anew.
 */
export function Jar({ busy }: { busy?: boolean }) {
  if (busy)
    return (
      <span class="jar busy" aria-hidden="true">
        <svg viewBox="0 0 28 28">
          <path class="dn" d={BOWL} />
        </svg>
        <svg viewBox="0 0 28 28" class="lid">
          <path class="up" d={LID} />
        </svg>
      </span>
    );
  return (
    <svg class="jar" viewBox="0 0 28 28" aria-hidden="true">
      <path class="up" d={LID} />
      <path class="dn" d={BOWL} />
    </svg>
  );
}

export function Moon() {
  return (
    <svg class="moon" viewBox="0 0 132 132" aria-hidden="true">
      <defs>
        <radialGradient id="glow" gradientUnits="userSpaceOnUse" cx="48" cy="40" r="92">
          <stop class="hi" offset="0" />
          <stop class="mid" offset=".5" />
          <stop class="lo" offset="1" />
        </radialGradient>
      </defs>
      <ellipse class="shade" cx="66.5" cy="121" rx="34" ry="3.5" />
      <path
        d="M48.5 13.5h35v5.2c20.5 5.3 33 22.3 33 44.3H16.5c0-22 11.5-39 32-44.3z"
        fill="url(#glow)"
      />
      <path
        d="M16.5 64.6h100c-.6 22.9-12.7 39.6-31 45.9v8.5H47.8v-8.5C29.5 104.2 17.1 87.5 16.5 64.6z"
        fill="url(#glow)"
      />
      <path class="rim" d="M16.5 63.8h100" />
      <path class="lip" d="M48.5 13.5h35" />
    </svg>
  );
}

// SPDX-License-Identifier: MIT
// Charts in plain SVG, drawn anew for each width, never scaled; the data as a table by a button or T.
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { lang, number } from '../i18n';
import { tp } from '../i18n/people';
import { ticks } from '../ticks';
import { Icon } from './icon';

interface Table {
  head: string[];
  rows: (string | number)[][];
}
interface FigureProps {
  title: string;
  table: () => Table;
  legend?: ComponentChildren;
  draw: (width: number) => ComponentChildren;
}

export function Figure({ title, table, legend, draw }: FigureProps) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [asTable, setAsTable] = useState(false);
  const id = useId();
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) =>
      setWidth(Math.floor(entry?.contentRect.width ?? 0)),
    );
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  const onKey = (e: KeyboardEvent): void => {
    if (e.code !== 'KeyT' || e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
    e.preventDefault();
    setAsTable(!asTable);
  };
  return (
    <figure class="figure" onKeyDown={onKey}>
      <div class="figure-top">
        {legend}
        <button
          type="button"
          class="b sm"
          aria-pressed={asTable}
          title={tp('tableKey')}
          onClick={() => setAsTable(!asTable)}
        >
          <Icon name={asTable ? 'chart' : 'table'} small />
          {tp(asTable ? 'asChart' : 'asTable')}
        </button>
      </div>
      <div ref={box} class="figure-box">
        {asTable ? (
          <Data title={title} table={table()} />
        ) : (
          <div tabIndex={0} role="group" aria-labelledby={id} class="chart-focus">
            {width > 0 && draw(width)}
          </div>
        )}
      </div>
      <figcaption id={id} class="vh">
        {title}
      </figcaption>
    </figure>
  );
}

function Data({ title, table }: { title: string; table: Table }) {
  return (
    <div class="tbl data" tabIndex={0} role="region" aria-label={title}>
      <table>
        <thead>
          <tr>
            {table.head.map((h, i) => (
              <th key={h} scope="col" class={i ? 'r' : undefined}>
                {h}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row) => (
            <tr key={row[0]}>
              {row.map((cell, i) =>
                i ? (
                  <td key={i} class="r num">
                    {typeof cell === 'number' ? number(cell) : cell}
                  </td>
                ) : (
                  <th key={i} scope="row" class="num">
                    {cell}
                  </th>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const LEFT = 46;
const BOTTOM = 22;
const TOP = 10;

/** "15만", "150K". */
export const short = (n: number): string =>
  new Intl.NumberFormat(lang.value, {
    notation: n >= 1e4 ? 'compact' : 'standard',
    maximumFractionDigits: n > 0 && n < 1 ? 2 : 1,
  }).format(n);

function Grid({ width, height, marks }: { width: number; height: number; marks: number[] }) {
  const most = marks.at(-1)!;
  const y = (v: number): number => height - BOTTOM - (v / most) * (height - BOTTOM - TOP);
  return (
    <>
      {marks.map((v) => (
        <g key={v}>
          <line class={v ? 'grid' : 'axis'} x1={LEFT} x2={width} y1={y(v)} y2={y(v)} />
          <text x={LEFT - 9} y={y(v) + 4} text-anchor="end">
            {short(v)}
          </text>
        </g>
      ))}
    </>
  );
}

interface LineProps {
  width: number;
  /** Oldest first; x from 0 to 1. */
  points: { x: number; y: number }[];
  from: string;
  to: string;
}
export function LineChart({ width, points, from, to }: LineProps) {
  const height = width < 420 ? 160 : 190;
  const right = width - 6;
  const marks = ticks(Math.max(1, ...points.map((p) => p.y)));
  const at = (p: { x: number; y: number }): [number, number] => [
    LEFT + p.x * (right - LEFT),
    height - BOTTOM - (p.y / marks.at(-1)!) * (height - BOTTOM - TOP),
  ];
  const path = points.map((p) => at(p).map((v) => v.toFixed(1)).join(' ')).join('L');
  const first = points[0];
  const last = points.at(-1);
  const end = last ? at(last) : null;
  return (
    <svg class="chart s1" width={width} height={height} aria-hidden="true">
      <Grid width={right} height={height} marks={marks} />
      {first && end && points.length > 1 && (
        <>
          <path
            class="fill"
            d={`M${at(first)[0].toFixed(1)} ${height - BOTTOM}L${path}L${end[0].toFixed(1)} ${height - BOTTOM}z`}
          />
          <path class="ln" d={`M${path}`} />
        </>
      )}
      {end && <circle class="pt on" cx={end[0]} cy={end[1]} r="4" />}
      <text x={LEFT} y={height - 4}>
        {from}
      </text>
      <text x={right} y={height - 4} text-anchor="end">
        {to}
      </text>
    </svg>
  );
}

export const N_SERIES = 3;
/** The look of a series: the fourth is what is left. */
export const seriesClass = (i: number): string => `f${Math.min(i, N_SERIES) + 1}`;

interface StackProps {
  width: number;
  /** A bar each: what stands on what, from below. */
  bars: { label: string; title: string; parts: number[] }[];
}
export function StackChart({ width, bars }: StackProps) {
  const id = useId();
  const height = width < 420 ? 190 : 240;
  const right = width - 2;
  const marks = ticks(Math.max(1, ...bars.map((b) => b.parts.reduce((a, v) => a + v, 0))));
  const most = marks.at(-1)!;
  const step = (right - LEFT) / Math.max(1, bars.length);
  const wide = Math.max(2, Math.min(34, step * 0.66));
  const scale = (height - BOTTOM - TOP) / most;
  // Labels where they have room, the last one always.
  const every = Math.max(1, Math.ceil(64 / step));
  return (
    <svg class="chart" width={width} height={height} aria-hidden="true">
      <defs>
        <pattern id={`${id}2`} width="6" height="6" patternUnits="userSpaceOnUse" class="p2">
          <path d="M-1 7L7 -1M-2 2L2 -2M4 8L8 4" />
        </pattern>
        <pattern id={`${id}3`} width="5" height="5" patternUnits="userSpaceOnUse" class="p3">
          <circle cx="2.5" cy="2.5" r="1.1" />
        </pattern>
      </defs>
      <Grid width={right} height={height} marks={marks} />
      {bars.map((bar, i) => {
        const x = LEFT + step * (i + 0.5) - wide / 2;
        let y = height - BOTTOM;
        return (
          <g key={bar.title}>
            <title>{bar.title}</title>
            <rect class="hit" x={LEFT + step * i} y={TOP} width={step} height={height - BOTTOM - TOP} />
            {bar.parts.map((v, k) => {
              const h = v * scale;
              y -= h;
              if (h <= 0) return null;
              const place = { x, y, width: wide, height: Math.max(h, 0.5) };
              return (
                <g key={k}>
                  <rect {...place} class={seriesClass(k)} />
                  {(k === 1 || k === 2) && <rect {...place} fill={`url(#${id}${k + 1})`} />}
                </g>
              );
            })}
            {(bars.length - 1 - i) % every === 0 && (
              <text
                x={i === bars.length - 1 ? right : LEFT + step * (i + 0.5)}
                y={height - 4}
                text-anchor={i === bars.length - 1 ? 'end' : 'middle'}
              >
                {bar.label}
              </text>
            )}
          </g>
        );
      })}
      <line class="axis" x1={LEFT} x2={right} y1={height - BOTTOM} y2={height - BOTTOM} />
    </svg>
  );
}

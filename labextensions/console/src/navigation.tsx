/** The hub's bar, made part of the page: its links open panels without a reload. */
import type { Place } from '@ltai/ui';
import { useEffect } from 'react';

export function Navigation({ place, prefix }: { place: Place; prefix: string }): null {
  useLinks(place, prefix);
  useLitEntry(place.path, prefix);
  return null;
}

const isBelow = (path: string, item: string): boolean => path === item || path.startsWith(`${item}/`);

/** Links of the bar that lead to the console open in place. */
function useLinks(place: Place, prefix: string): void {
  useEffect(() => {
    const onClick = (event: MouseEvent): void => {
      if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      const link = (event.target as HTMLElement).closest<HTMLAnchorElement>('.navbar a[href]');
      if (!link || link.target || link.origin !== window.location.origin || !link.pathname.startsWith(prefix)) return;
      event.preventDefault();
      place.open(`/${link.pathname.slice(prefix.length)}${link.search}`);
    };
    document.addEventListener('click', onClick);
    return () => document.removeEventListener('click', onClick);
  }, [place, prefix]);
}

/** The server lights the entry of the first page; later ones are lit here. */
function useLitEntry(path: string, prefix: string): void {
  useEffect(() => {
    const links = [...document.querySelectorAll<HTMLAnchorElement>('.navbar a.nav-link[href]')];
    const here = links.filter(link => link.pathname.startsWith(prefix) && isHere(path, `/${link.pathname.slice(prefix.length)}`));
    const admin = path.startsWith('/admin') ? links.filter(link => link.pathname.endsWith('/hub/admin')) : [];
    for (const link of links) {
      const lit = here.includes(link) || admin.includes(link);
      link.classList.toggle('active', lit);
      if (lit) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
  }, [path, prefix]);
}

const isHere = (path: string, entry: string): boolean => (entry === '/' ? path === '/' : isBelow(path, entry));

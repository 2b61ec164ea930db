// The theme and the language before the first paint.
(function () {
  var root = document.documentElement;
  try {
    var theme = localStorage.getItem('damso.theme');
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
    root.dataset.size = localStorage.getItem('damso.size') || 'normal';
    root.lang =
      localStorage.getItem('damso.lang') || (/^ko/i.test(navigator.language) ? 'ko' : 'en');
  } catch (e) {
    /* no storage: the system's theme */
  }
})();
